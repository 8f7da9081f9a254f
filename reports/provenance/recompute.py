"""Recomputes recorded numbers: accuracies from predictions, H from its halves, trials from runs."""

import math
from collections.abc import Callable, Iterable, Iterator
from statistics import fmean

from harness.spec.protocols import harmonic_mean
from harness.tracking.run_record import Run
from reports.provenance.diff import Problem
from reports.results import predictions, sweep_results
from reports.results.sweep_results import Sweep


def accuracy_problems(
    file: str, runs: Iterable[Run], fetch: Callable[[Run], bytes | None]
) -> Iterator[Problem]:
    """Yield accuracies that the answers to each image contradict, and H that its halves do.

    ``file`` is where the runs are recorded; ``fetch`` returns a run's predictions.parquet.
    """
    for run in runs:
        stored = fetch(run) if run.status == "finished" else None
        for part in predictions.read_answers(stored).parts() if stored else ():
            yield from _compare_metric(file, run, f"acc/{part.name}", part.accuracy)
        if {"acc/base", "acc/novel", "acc/hmean"} <= set(run.metrics):
            hmean = harmonic_mean(run.metrics["acc/base"], run.metrics["acc/novel"])
            yield from _compare_metric(file, run, "acc/hmean", hmean)


def trial_problems(file: str, sweep: Sweep, runs: Iterable[Run]) -> Iterator[Problem]:
    """Yield accuracies and parameters of complete trials that are not the means of their runs.

    ``file`` is where the trials are recorded. A trial with missing runs is skipped. Where a run was
    repeated, its smallest and largest values bound the mean.
    """
    repeats: dict[str, list[Run]] = {}
    for run in sweep.behind(runs):
        repeats.setdefault(run.digest, []).append(run)
    names = [c for c in sweep.trials if c.startswith(("acc/", "params/"))]
    for row in sweep.complete.to_dict("records"):
        behind = [repeats.get(digest, []) for digest in sweep_results.trial_digests(row)]
        for name in names if behind and all(behind) else ():
            values = [[r.metrics[name] for r in same if name in r.metrics] for same in behind]
            if not all(values):
                continue
            low, high = fmean(map(min, values)), fmean(map(max, values))
            if not low - 1e-6 <= float(row[name]) <= high + 1e-6:
                where = f"trial {row['number']}, {name}"
                yield Problem(file, where, f"{row[name]!r}", f"{high!r}")


def _compare_metric(file: str, run: Run, name: str, value: float) -> Iterator[Problem]:
    recorded = run.metrics.get(name, value)
    if not math.isclose(recorded, value, abs_tol=1e-6):
        yield Problem(file, f"run {run.id}, metrics, {name}", f"{recorded!r}", f"{value!r}")
