"""Finds in the ledger the runs that others start from, and keeps their files."""

import json
import os
import shutil
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.run import adapter_files, merged_sources, warm_start
from harness.spec.paths import home_folder
from harness.spec.spec import Spec
from harness.tracking.ledger import Ledger, open_ledger
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError

CELL = ["protocol", "backbone.name", "backbone.pretrained", "seed"]
CELL += [f"data.{key}" for key in warm_start.DRAW]


def resolve_source_runs(spec: Spec, uri: str | None = None) -> Spec:
    """The spec with the run that it starts from named in full, and that run's files at hand.

    A word is the beginning of a run's digest or MLflow id; of ``method.start`` also a method's name
    or the beginning of a configuration, which means the run of that kind in the spec's own cell:
    same protocol, backbone, data, shots and seed. Raises UsageError when there is not exactly one,
    and for a run that may not be started from.
    """
    method: Any = spec.method
    if method.start:
        full = _full(spec, method.start, uri, _cell(spec), warm_start.KEY)
        return replace(spec, method=replace(method, start=full))
    if method.runs:
        full_of = {word: _full(spec, word, uri, None, merged_sources.KEY) for word in method.runs}
        words = tuple(full_of.get(word, word) for word in method.sources)
        twice = next((w for w in words if words.count(w) > 1), None)
        if twice:
            raise UsageError(f"{merged_sources.KEY}: run {twice.partition('-')[0]} is named twice")
        spec = replace(spec, method=replace(method, sources=words))
    return spec


Cell = tuple[tuple[str, str], ...]


def _full(spec: Spec, word: str, uri: str | None, cell: Cell | None, key: str) -> str:
    """A run named in full, its files at hand; without a ``cell`` only by its id."""
    match = warm_start.SOURCE_ID.fullmatch(word)
    if match is None:
        folder = _found(word, cell, uri, home_folder(), key)
    else:
        folder = warm_start.kept(match[1], match[2])
        if not (folder / warm_start.RECORD).is_file():
            _fetch(open_ledger(uri), match[1], match[2], key)
    return f"{folder.name}-{warm_start.way(spec, warm_start.read(folder).spec)}"


def _cell(spec: Spec) -> Cell:
    flat = spec.flat()
    return tuple((key, str(flat[key])) for key in CELL)


@lru_cache(maxsize=1024)
def _found(word: str, cell: Cell | None, uri: str | None, place: Path, key: str) -> Path:
    """The folder of the run that a word means; asked once a process."""
    ledger = open_ledger(uri)
    done = [run for run in ledger.runs() if run.status == "finished" and run.tested]
    named = [run for run in done if run.id.startswith(word) or run.digest.startswith(word)]
    if not named and cell is None:
        raise UsageError(
            f"{key}: {word!r} is no data set, number or finished run; see `ringbench ls runs`"
        )
    if not named and cell is not None:
        named = [run for run in done if _of_kind(run, word) and _in(run, cell)]
    digests = sorted({run.digest for run in named})
    if not digests:
        where = " ".join(f"{name}={value}" for name, value in cell or () if value)
        raise UsageError(
            f"{key}: no finished run {word!r}, nor a run of that method in this cell"
            f" ({where}); see `ringbench ls runs`"
        )
    if len(digests) > 1:
        raise UsageError(f"{key}: {word!r} means several runs ({', '.join(digests[:5])}); name one")
    return _keep(ledger, max(named, key=lambda run: run.started), key)


def _of_kind(run: Run, word: str) -> bool:
    by_way = len(word) >= 4 and run.tags["configuration"].startswith(word)
    return run.tags["method"] == word or by_way


def _in(run: Run, cell: tuple[tuple[str, str], ...]) -> bool:
    return all(run.params.get(key, "") == value for key, value in cell)


def _fetch(ledger: Ledger, digest: str, weights: str, key: str) -> None:
    """Keep the files of the run of that digest that has these weights. Raises UsageError."""
    for run in ledger.runs(f"tags.digest = '{digest}'"):
        good = run.status == "finished" and run.tested
        if good and _keep(ledger, run, key) == warm_start.kept(digest, weights):
            return
    raise UsageError(f"{key}: run {digest} with weights {weights} is not in the ledger")


def _keep(ledger: Ledger, run: Run, key: str) -> Path:
    """Copy what is needed of a run to the home folder, whole or not at all; returns the place."""
    if run.params.get("method.start"):
        raise UsageError(
            f"{key}: run {run.digest} itself started from run"
            f" {run.tags.get('start', '')}; start from that one"
        )
    with ledger.artifacts(run) as folder:
        adapter_files.read(folder)
        place = warm_start.kept(run.digest, warm_start.weights_hash(folder / adapter_files.WEIGHTS))
        if (place / warm_start.RECORD).is_file():
            return place
        scrap = place.with_name(f".{place.name}-{os.getpid()}")
        scrap.mkdir(parents=True, exist_ok=True)
        for name in (adapter_files.WEIGHTS, adapter_files.CONFIG):
            shutil.copy(folder / name, scrap / name)
    record = {"run_id": run.id, "seconds": run.metrics["time/train_seconds"]}
    (scrap / warm_start.RECORD).write_text(json.dumps(record) + "\n")
    try:
        scrap.rename(place)
    except OSError:  # another process was first
        shutil.rmtree(scrap, ignore_errors=True)
    return place
