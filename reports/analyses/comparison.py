"""Pairs of methods compared on the same data sets, seeds and images."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import stats

from reports.results.pairing import Paired, metric_parts, pair_runs
from reports.results.selection import Candidate
from reports.statistics import bootstrap, mcnemar
from reports.statistics.bootstrap import Difference
from reports.statistics.intervals import Estimate, t_interval
from reports.statistics.mcnemar import FetchPredictions, McNemar

ENOUGH = 6  # data sets below which Wilcoxon's two-sided p cannot be under 0.05
LEVEL = 0.05
POWER = 0.8
HINT = 0.5  # points that the power hint is about
MOST = 10_000  # seeds beyond which nobody counts


@dataclass(frozen=True)
class DatasetComparison:
    """One data set of a comparison: the difference over seeds, and the same test images.

    ``item_error`` is the standard error from the choice of test images alone, in points.
    """

    dataset: str
    estimate: Estimate
    p: float
    mcnemar: McNemar | None
    item_error: float
    mcnemar_holm: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """``seeds`` is the difference on these data sets were the seeds others, ``datasets`` on data
    sets like these. ``_holm`` are p-values for all comparisons made together."""

    paired: Paired
    metric: str
    seeds: Difference
    datasets: Difference
    wilcoxon: float  # NaN below six data sets
    effect: float  # Hedges' g of the differences over data sets, over seeds for a single one
    seeds_needed: float  # for 80 % power to see half a point on these data sets; NaN if unknown
    each: tuple[DatasetComparison, ...]
    trainable: tuple[float, float]
    seeds_holm: float = math.nan
    datasets_holm: float = math.nan
    wilcoxon_holm: float = math.nan

    @property
    def value(self) -> float:
        return self.seeds.value

    @property
    def wins(self) -> tuple[int, int, int]:
        """Data sets on which the first is better, equal, worse."""
        means = [e.estimate.mean for e in self.each]
        return sum(m > 0 for m in means), sum(m == 0 for m in means), sum(m < 0 for m in means)


def compare_methods(
    entrants: Sequence[Candidate], baseline: Candidate | None, metric: str, fetch: FetchPredictions
) -> list[Comparison]:
    """Every pair, or everything against a baseline. Raises UsageError for pairs without common
    runs."""
    if baseline is None:
        pairs = list(combinations(entrants, 2))
    else:
        pairs = [(e, baseline) for e in entrants if e is not baseline]
    return _together([_one(pair_runs(a, b, metric), metric, fetch) for a, b in pairs])


def _one(paired: Paired, metric: str, fetch: FetchPredictions) -> Comparison:
    values = paired.values(metric)
    means = bootstrap.dataset_differences(values)
    each = tuple(
        _on(paired, name, metric, bootstrap.score_difference(x), fetch)
        for name, x in zip(paired.datasets, values, strict=True)
    )
    seeds = bootstrap.over_seeds(values)
    cells = paired.cells
    return Comparison(
        paired,
        metric,
        seeds,
        bootstrap.over_datasets(values),
        wilcoxon_p(means),
        hedges_g(means if len(means) > 1 else bootstrap.score_difference(values[0])),
        seeds_needed(seeds, min(x.shape[2] for x in values)),
        each,
        (
            float(cells.groupby("dataset")["params/trainable_a"].mean().mean()),
            float(cells.groupby("dataset")["params/trainable_b"].mean().mean()),
        ),
    )


def _on(
    paired: Paired, name: str, metric: str, change: np.ndarray, fetch: FetchPredictions
) -> DatasetComparison:
    estimate = t_interval(change.tolist())
    p = bootstrap.interval(estimate.mean, float(stats.sem(change)), len(change) - 1).p if (
        len(change) > 1
    ) else math.nan  # fmt: skip
    rows = paired.cells[paired.cells["dataset"] == name]
    parts = [part.removeprefix("acc/") for part in metric_parts(metric)]
    runs = list(zip(rows["run_id_a"], rows["run_id_b"], strict=True))
    answers = mcnemar.answer_matrices(runs, parts, fetch)
    if answers is None or answers[0].empty:
        return DatasetComparison(name, estimate, p, None, math.nan)
    a, b = answers
    test = mcnemar.mcnemar_test(a.to_numpy(), b.to_numpy())
    return DatasetComparison(name, estimate, p, test, mcnemar.image_standard_error(a, b, parts))


def wilcoxon_p(changes: np.ndarray) -> float:
    """Wilcoxon's signed-rank p over data sets; NaN below six, where it cannot show anything."""
    if len(changes) < ENOUGH:
        return math.nan
    if not np.any(changes):
        return 1.0
    return float(stats.wilcoxon(changes).pvalue)


def hedges_g(changes: np.ndarray) -> float:
    """Mean over standard deviation of paired differences, with Hedges' correction for few."""
    n = len(changes)
    deviation = float(np.std(changes, ddof=1)) if n > 1 else 0.0
    if n < 3 or deviation < 1e-9:  # the correction of two is zero
        return math.nan
    correction = 1 - 3 / (4 * (n - 1) - 1)
    return float(np.mean(changes)) / deviation * correction


def seeds_needed(difference: Difference, seeds: int) -> float:
    """Seeds a data set for an 80 % chance that half a point shows (paired t test at 5 %)."""
    from statsmodels.stats.power import TTestPower  # slow to import

    if math.isnan(difference.error) or difference.error < 1e-9:
        return math.nan
    size = HINT / (difference.error * math.sqrt(seeds))
    freedom = difference.freedom / (seeds - 1)  # for every further seed

    def chance(n: int) -> float:
        return float(TTestPower().power(size, n, LEVEL, df=freedom * (n - 1)))

    return float(2 + bisect_left(range(2, MOST), POWER, key=chance))


def _together(found: list[Comparison]) -> list[Comparison]:
    """With Holm's correction over all comparisons, and McNemar's over all data sets of all."""
    seeds = holm([c.seeds.p for c in found])
    datasets = holm([c.datasets.p for c in found])
    signed = holm([c.wilcoxon for c in found])
    tests = [(i, j) for i, c in enumerate(found) for j, e in enumerate(c.each) if e.mcnemar]
    raw = [m.p for i, j in tests if (m := found[i].each[j].mcnemar) is not None]
    corrected = dict(zip(tests, holm(raw), strict=True))
    return [
        replace(
            c,
            seeds_holm=seeds[i],
            datasets_holm=datasets[i],
            wilcoxon_holm=signed[i],
            each=tuple(
                replace(e, mcnemar_holm=corrected.get((i, j), math.nan))
                for j, e in enumerate(c.each)
            ),
        )
        for i, c in enumerate(found)
    ]


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values; NaN is no test and stays NaN."""
    from statsmodels.stats.multitest import multipletests  # slow to import

    known = [p for p in ps if not math.isnan(p)]
    if not known:
        return list(ps)
    adjusted = iter(multipletests(known, method="holm")[1])
    return [p if math.isnan(p) else float(next(adjusted)) for p in ps]
