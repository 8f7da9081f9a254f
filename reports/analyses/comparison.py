"""Pairs of methods compared on the same data sets, seeds and images."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from reports.results.pairing import Paired, metric_parts, pair_runs
from reports.results.selection import Candidate
from reports.statistics import bootstrap, mcnemar
from reports.statistics.bootstrap import Difference
from reports.statistics.intervals import Estimate, holm, t_interval
from reports.statistics.mcnemar import FetchPredictions, McNemar

ENOUGH = 6  # data sets below which Wilcoxon's two-sided p cannot be under 0.05
LEVEL = 0.05
POWER = 0.8
TARGET = 0.5  # the difference, in points, that ``seeds_needed`` is about
MAX_SEEDS = 10_000


@dataclass(frozen=True)
class DatasetComparison:
    """The difference over seeds on one data set, and McNemar's test on the same images.

    ``item_error`` is the standard error, in points, due to the choice of test images alone.
    """

    dataset: str
    estimate: Estimate
    p: float
    mcnemar: McNemar | None
    item_error: float
    mcnemar_holm: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """Two candidates compared.

    ``seeds`` is the difference on these data sets, ``datasets`` that on data sets like these.
    ``wilcoxon`` is NaN below six data sets. ``effect`` is Hedges' g of the differences over data
    sets, or over seeds for a single data set. ``seeds_needed`` is the number of seeds for 80 %
    power to show half a point on these data sets, NaN if unknown. The ``_holm`` p-values are
    corrected for all comparisons made together.
    """

    paired: Paired
    metric: str
    seeds: Difference
    datasets: Difference
    wilcoxon: float
    effect: float
    seeds_needed: float
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
        """The numbers of data sets on which the first is better, equal and worse."""
        means = [e.estimate.mean for e in self.each]
        return sum(m > 0 for m in means), sum(m == 0 for m in means), sum(m < 0 for m in means)


def compare_methods(
    candidates: Sequence[Candidate],
    baseline: Candidate | None,
    metric: str,
    fetch: FetchPredictions,
) -> list[Comparison]:
    """Compare every pair, or every candidate with a baseline.

    Raises UsageError for a pair without common runs.
    """
    if baseline is None:
        pairs = list(combinations(candidates, 2))
    else:
        pairs = [(c, baseline) for c in candidates if c is not baseline]
    return _corrected([_compare(pair_runs(a, b, metric), metric, fetch) for a, b in pairs])


def _compare(paired: Paired, metric: str, fetch: FetchPredictions) -> Comparison:
    values = paired.values(metric)
    means = bootstrap.dataset_differences(values)
    changes = [bootstrap.score_difference(x) for x in values]
    seeds = bootstrap.over_seeds(values)
    by_dataset = paired.cells.groupby("dataset")
    trainable = [float(by_dataset[f"params/trainable_{s}"].mean().mean()) for s in "ab"]
    return Comparison(
        paired,
        metric,
        seeds,
        bootstrap.over_datasets(values),
        wilcoxon_p(means),
        hedges_g(means if len(means) > 1 else changes[0]),
        seeds_needed(seeds, min(x.shape[2] for x in values)),
        tuple(
            _compare_on(paired, name, metric, change, fetch)
            for name, change in zip(paired.datasets, changes, strict=True)
        ),
        (trainable[0], trainable[1]),
    )


def _compare_on(
    paired: Paired, name: str, metric: str, change: np.ndarray, fetch: FetchPredictions
) -> DatasetComparison:
    estimate, n = t_interval(change), len(change)
    p = math.nan
    if n > 1:
        error = float(change.std(ddof=1) / np.sqrt(n))
        p = bootstrap.interval(estimate.mean, error, n - 1).p
    rows = paired.cells[paired.cells["dataset"] == name]
    parts = [part.removeprefix("acc/") for part in metric_parts(metric)]
    runs = list(zip(rows["run_id_a"], rows["run_id_b"], strict=True))
    answers = mcnemar.answer_matrices(runs, parts, fetch)
    if answers is None or answers[0].empty:
        return DatasetComparison(name, estimate, p, None, math.nan)
    a, b = answers
    test = mcnemar.mcnemar_test(a.to_numpy(), b.to_numpy())
    error = mcnemar.image_standard_error(a, b, parts)
    return DatasetComparison(name, estimate, p, test, error)


def wilcoxon_p(changes: np.ndarray) -> float:
    """Return Wilcoxon's signed-rank p over data sets; NaN below six, where it has no power."""
    from scipy import stats  # slow to import

    if len(changes) < ENOUGH:
        return math.nan
    if not np.any(changes):
        return 1.0
    return float(stats.wilcoxon(changes).pvalue)


def hedges_g(changes: np.ndarray) -> float:
    """Return mean over standard deviation of paired differences with Hedges' correction."""
    n = len(changes)
    deviation = float(np.std(changes, ddof=1)) if n > 1 else 0.0
    if n < 3 or deviation < 1e-9:  # the correction for two is zero
        return math.nan
    correction = 1 - 3 / (4 * (n - 1) - 1)
    return float(np.mean(changes)) / deviation * correction


def seeds_needed(difference: Difference, seeds: int) -> float:
    """Return seeds per data set for an 80 % chance to show half a point (paired t test, 5 %)."""
    from statsmodels.stats.power import TTestPower  # slow to import

    if math.isnan(difference.error) or difference.error < 1e-9:
        return math.nan
    size = TARGET / (difference.error * math.sqrt(seeds))
    freedom = difference.freedom / (seeds - 1)  # of every further seed

    def power(n: int) -> float:
        return float(TTestPower().power(size, n, LEVEL, df=freedom * (n - 1)))

    return float(2 + bisect_left(range(2, MAX_SEEDS), POWER, key=power))


def _corrected(comparisons: list[Comparison]) -> list[Comparison]:
    """Add Holm's correction over all comparisons; McNemar's over all data sets of all."""
    seeds = holm([c.seeds.p for c in comparisons])
    datasets = holm([c.datasets.p for c in comparisons])
    signed = holm([c.wilcoxon for c in comparisons])
    tests = [e.mcnemar for c in comparisons for e in c.each]
    images = iter(holm([t.p if t else math.nan for t in tests]))
    return [
        replace(
            c,
            seeds_holm=float(seeds[i]),
            datasets_holm=float(datasets[i]),
            wilcoxon_holm=float(signed[i]),
            each=tuple(replace(e, mcnemar_holm=float(next(images))) for e in c.each),
        )
        for i, c in enumerate(comparisons)
    ]
