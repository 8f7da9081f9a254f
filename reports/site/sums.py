"""Accuracies as recorded against the answers to each image, and H against its halves."""

import math
from collections.abc import Callable, Iterable, Iterator

from harness.ledger import Run
from harness.protocols import harmonic_mean
from reports.site import answers
from reports.site.differ import Problem


def problems(
    file: str, runs: Iterable[Run], fetch: Callable[[Run], bytes | None]
) -> Iterator[Problem]:
    """``file`` is where the runs are recorded, ``fetch`` gives a run's predictions.parquet."""
    for run in runs:
        told = fetch(run) if run.status == "finished" else None
        for part in answers.read(told).parts() if told else ():
            yield from _equal(file, run, f"acc/{part.name}", part.accuracy)
        if {"acc/base", "acc/novel", "acc/hmean"} <= set(run.metrics):
            both = harmonic_mean(run.metrics["acc/base"], run.metrics["acc/novel"])
            yield from _equal(file, run, "acc/hmean", both)


def _equal(file: str, run: Run, name: str, value: float) -> Iterator[Problem]:
    there = run.metrics.get(name, value)
    if not math.isclose(there, value, abs_tol=1e-6):
        yield Problem(file, f"run {run.id}, metrics, {name}", f"{there!r}", f"{value!r}")
