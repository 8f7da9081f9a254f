"""Finds in the ledger the runs that others take weights from, and copies their files."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.run import adapter_files
from harness.run.source_runs import (
    CELL_FIELDS,
    RECORD,
    SOURCE_ID,
    SOURCES,
    START,
    read_source,
    shared_configuration,
    source_folder,
    weights_hash,
)
from harness.spec.atomic_files import atomic_path
from harness.spec.paths import home_folder
from harness.spec.spec import Spec
from harness.tracking.ledger import Ledger, open_ledger
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError

CELL = ["protocol", "backbone.name", "backbone.pretrained", "seed"]
CELL += [f"data.{key}" for key in CELL_FIELDS]

Cell = tuple[tuple[str, str], ...]  # settings and their values


def resolve_source_runs(spec: Spec, uri: str | None = None) -> Spec:
    """Return the spec with its recorded sources named in full, and copy their files.

    A source is named by the beginning of a run id or MLflow id. ``method.start`` may also be the
    name of a method or the beginning of a configuration: it then means the run of that kind in the
    spec's own cell (same protocol, backbone, data, shots and seed). Raises UsageError unless there
    is exactly one such run, and for a run that itself started from another one.
    """
    method: Any = spec.method
    if method.start:
        flat = spec.flat()
        cell = tuple((key, str(flat[key])) for key in CELL)
        full = _full_id(spec, method.start, uri, cell, START)
        return replace(spec, method=replace(method, start=full))
    if method.runs:
        full_ids = {word: _full_id(spec, word, uri, None, SOURCES) for word in method.runs}
        words = tuple(full_ids.get(word, word) for word in method.sources)
        twice = next((w for w in words if words.count(w) > 1), None)
        if twice:
            raise UsageError(f"{SOURCES}: run {twice.partition('-')[0]} is named twice")
        return replace(spec, method=replace(method, sources=words))
    return spec


def _full_id(spec: Spec, word: str, uri: str | None, cell: Cell | None, key: str) -> str:
    match = SOURCE_ID.fullmatch(word)
    if match is None:
        folder = _find(word, cell, uri, home_folder(), key)
    else:
        folder = source_folder(match[1], match[2])
        if not (folder / RECORD).is_file():
            _copy_weights(open_ledger(uri), match[1], match[2], key)
    return f"{folder.name}-{shared_configuration(spec, read_source(folder).spec)}"


@lru_cache(maxsize=1024)
def _find(word: str, cell: Cell | None, uri: str | None, home: Path, key: str) -> Path:
    """Return the folder of the run that a word means; without a ``cell`` only by its id."""
    ledger = open_ledger(uri)
    done = [run for run in ledger.runs() if run.finished and run.tested]
    runs = [run for run in done if run.id.startswith(word) or run.digest.startswith(word)]
    if not runs and cell is None:
        raise UsageError(
            f"{key}: {word!r} is no data set, number or finished run; see `ringbench ls runs`"
        )
    if not runs and cell is not None:
        runs = [run for run in done if _is_of_kind(run, word) and _is_in(run.params, cell)]
    digests = sorted({run.digest for run in runs})
    if not digests:
        where = " ".join(f"{name}={value}" for name, value in cell or () if value)
        raise UsageError(
            f"{key}: no finished run {word!r}, nor a run of that method in this cell"
            f" ({where}); see `ringbench ls runs`"
        )
    if len(digests) > 1:
        raise UsageError(f"{key}: {word!r} means several runs ({', '.join(digests[:5])}); name one")
    return _copy(ledger, max(runs, key=lambda run: run.started), key)


def _is_of_kind(run: Run, word: str) -> bool:
    is_configuration = len(word) >= 4 and run.tags["configuration"].startswith(word)
    return run.tags["method"] == word or is_configuration


def _is_in(params: Mapping[str, str], cell: Cell) -> bool:
    return all(params.get(key, "") == value for key, value in cell)


def _copy_weights(ledger: Ledger, digest: str, weights: str, key: str) -> None:
    """Copy the files of the run with this run id and these weights. Raises UsageError."""
    for run in ledger.runs(f"tags.digest = '{digest}'"):
        usable = run.finished and run.tested
        if usable and _copy(ledger, run, key) == source_folder(digest, weights):
            return
    raise UsageError(f"{key}: run {digest} with weights {weights} is not in the ledger")


def _copy(ledger: Ledger, run: Run, key: str) -> Path:
    """Copy the files that a source needs to the home folder; return their folder."""
    if run.params.get("method.start"):
        raise UsageError(
            f"{key}: run {run.digest} itself started from run"
            f" {run.tags.get('start', '')}; start from that one"
        )
    with ledger.artifacts(run) as files:
        adapter_files.read(files)  # raises for a run without weights
        folder = source_folder(run.digest, weights_hash(files / adapter_files.WEIGHTS))
        if (folder / RECORD).is_file():
            return folder
        try:
            with atomic_path(folder) as draft:
                draft.mkdir()
                for name in (adapter_files.WEIGHTS, adapter_files.CONFIG):
                    shutil.copy(files / name, draft / name)
                record = {"run_id": run.id, "seconds": run.metrics["time/train_seconds"]}
                (draft / RECORD).write_text(json.dumps(record) + "\n")
        except OSError:
            if not (folder / RECORD).is_file():  # else another process was first
                raise
    return folder
