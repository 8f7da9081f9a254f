"""Sums done again: accuracies against the answers to each image, H against its halves, trials
against their runs."""

import math
from collections.abc import Callable, Iterable, Iterator
from statistics import fmean

from harness.spec.protocols import harmonic_mean
from harness.tracking.run_record import Run
from reports.provenance.diff import Problem
from reports.results import predictions, sweeps
from reports.results.sweeps import Sweep


def accuracy_problems(
    file: str, runs: Iterable[Run], fetch: Callable[[Run], bytes | None]
) -> Iterator[Problem]:
    """``file`` is where the runs are recorded, ``fetch`` gives a run's predictions.parquet."""
    for run in runs:
        told = fetch(run) if run.status == "finished" else None
        for part in predictions.read_answers(told).parts() if told else ():
            yield from _equal(file, run, f"acc/{part.name}", part.accuracy)
        if {"acc/base", "acc/novel", "acc/hmean"} <= set(run.metrics):
            both = harmonic_mean(run.metrics["acc/base"], run.metrics["acc/novel"])
            yield from _equal(file, run, "acc/hmean", both)


def trial_problems(file: str, sweep: Sweep, runs: Iterable[Run]) -> Iterator[Problem]:
    """Complete trials whose accuracies and parameters are not the means of their runs'.

    ``file`` is where the trials are recorded. A trial with runs that are not there is passed over.
    Of a run that was repeated the least and the largest value bound what may stand.
    """
    known: dict[str, list[Run]] = {}
    for run in sweep.behind(runs):
        known.setdefault(run.digest, []).append(run)
    names = [c for c in sweep.trials if c.startswith(("acc/", "params/"))]
    for row in sweep.complete.to_dict("records"):
        behind = [known.get(digest, []) for digest in sweeps.digests_of(row)]
        for name in names if behind and all(behind) else ():
            values = [[r.metrics[name] for r in same if name in r.metrics] for same in behind]
            if not all(values):
                continue
            low, high = fmean(map(min, values)), fmean(map(max, values))
            if not low - 1e-6 <= float(row[name]) <= high + 1e-6:
                where = f"trial {row['number']}, {name}"
                yield Problem(file, where, f"{row[name]!r}", f"{high!r}")


def _equal(file: str, run: Run, name: str, value: float) -> Iterator[Problem]:
    there = run.metrics.get(name, value)
    if not math.isclose(there, value, abs_tol=1e-6):
        yield Problem(file, f"run {run.id}, metrics, {name}", f"{there!r}", f"{value!r}")
