"""Finds in the ledger the runs that others start from, and keeps their files."""

import json
import os
import shutil
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness import export, start
from harness.home import home
from harness.ledger import Ledger, Run, open_ledger
from harness.spec import Spec
from methods.kit.errors import UsageError

CELL = ["protocol", "backbone.name", "backbone.pretrained", "seed"]
CELL += [f"data.{key}" for key in start.DRAW]


def pinned(spec: Spec, uri: str | None = None) -> Spec:
    """The spec with the run that it starts from named in full, and that run's files at hand.

    A word is the beginning of a run's digest or MLflow id; or a method's name or the beginning of
    a configuration, which means the run of that kind in the spec's own cell: same protocol,
    backbone, data, shots and seed. Raises UsageError when there is not exactly one, and for a run
    that may not be started from.
    """
    word = spec.method.start
    if not word:
        return spec
    match = start.FULL.fullmatch(word)
    if match is None:
        folder = _found(word, _cell(spec), uri, home())
    else:
        folder = start.kept(match[1], match[2])
        if not (folder / start.RECORD).is_file():
            _fetch(open_ledger(uri), match[1], match[2])
    source = start.read(folder)
    full = f"{folder.name}-{start.way(spec, source.spec)}"
    method: Any = spec.method
    return replace(spec, method=replace(method, start=full))


def _cell(spec: Spec) -> tuple[tuple[str, str], ...]:
    flat = spec.flat()
    return tuple((key, str(flat[key])) for key in CELL)


@lru_cache(maxsize=1024)
def _found(word: str, cell: tuple[tuple[str, str], ...], uri: str | None, place: Path) -> Path:
    """The folder of the run that a word means; asked once a process."""
    ledger = open_ledger(uri)
    done = [run for run in ledger.runs() if run.status == "finished" and run.tested]
    named = [run for run in done if run.id.startswith(word) or run.digest.startswith(word)]
    if not named:
        named = [run for run in done if _of_kind(run, word) and _in(run, cell)]
    digests = sorted({run.digest for run in named})
    if not digests:
        where = " ".join(f"{key}={value}" for key, value in cell if value)
        raise UsageError(
            f"method.start: no finished run {word!r}, nor a run of that method in this cell"
            f" ({where}); see `ringbench ls runs`"
        )
    if len(digests) > 1:
        raise UsageError(
            f"method.start: {word!r} means several runs ({', '.join(digests[:5])}); name one"
        )
    return _keep(ledger, max(named, key=lambda run: run.started))


def _of_kind(run: Run, word: str) -> bool:
    by_way = len(word) >= 4 and run.tags["configuration"].startswith(word)
    return run.tags["method"] == word or by_way


def _in(run: Run, cell: tuple[tuple[str, str], ...]) -> bool:
    return all(run.params.get(key, "") == value for key, value in cell)


def _fetch(ledger: Ledger, digest: str, weights: str) -> None:
    """Keep the files of the run of that digest that has these weights. Raises UsageError."""
    for run in ledger.runs(f"tags.digest = '{digest}'"):
        good = run.status == "finished" and run.tested
        if good and _keep(ledger, run) == start.kept(digest, weights):
            return
    raise UsageError(f"method.start: run {digest} with weights {weights} is not in the ledger")


def _keep(ledger: Ledger, run: Run) -> Path:
    """Copy what is needed of a run to the home folder, whole or not at all; returns the place."""
    if run.params.get("method.start"):
        raise UsageError(
            f"method.start: run {run.digest} itself started from run"
            f" {run.tags.get('start', '')}; start from that one"
        )
    with ledger.artifacts(run) as folder:
        export.read(folder)
        place = start.kept(run.digest, start.weights_hash(folder / export.WEIGHTS))
        if (place / start.RECORD).is_file():
            return place
        scrap = place.with_name(f".{place.name}-{os.getpid()}")
        scrap.mkdir(parents=True, exist_ok=True)
        for name in (export.WEIGHTS, export.CONFIG):
            shutil.copy(folder / name, scrap / name)
    record = {"run_id": run.id, "seconds": run.metrics["time/train_seconds"]}
    (scrap / start.RECORD).write_text(json.dumps(record) + "\n")
    try:
        scrap.rename(place)
    except OSError:  # another process was first
        shutil.rmtree(scrap, ignore_errors=True)
    return place
