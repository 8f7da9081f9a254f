"""The difference of two methods with its interval, by a paired bootstrap over clusters.

There are two questions with two kinds of cluster:

- *These data sets*: seeds are resampled within each data set, with both methods and all images of a
  seed together.
- *Data sets like these*: whole data sets are resampled, each with its seeds.

The bootstrap gives the standard error of the difference, also of a difference of harmonic means.
Clusters are few (three seeds, five data sets), so n - 1 of n are drawn, which makes that error
unbiased (McCarthy and Snowden, 1985), and the interval uses Student's t: percentiles are too narrow
for so few clusters.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reports.statistics.intervals import t_p, t_quantile

DRAWS = 10_000
Values = Sequence[np.ndarray]  # per data set: (method, part, seed)


class Difference(NamedTuple):
    """First method minus second, in points, with its 95 % interval and two-sided p.

    ``error`` is the standard error, ``freedom`` its degrees of freedom. All but ``value`` are NaN
    where nothing was repeated.
    """

    value: float
    low: float
    high: float
    p: float
    error: float
    freedom: float


def combined_score(parts: np.ndarray, axis: int) -> np.ndarray:
    """Return a single part as it is, and the harmonic mean of two; 0 where both are 0."""
    if parts.shape[axis] == 1:
        return parts.take(0, axis)
    base, novel = parts.take(0, axis), parts.take(1, axis)
    total = base + novel
    scores: np.ndarray = 2 * base * novel / np.where(total == 0, 1, total)
    return scores


def part_slopes(accuracies: Sequence[float]) -> list[float]:
    """Return the derivative of the score with respect to each part (accuracies as shares of 1)."""
    if len(accuracies) == 1:
        return [1.0]
    base, novel = accuracies
    total = base + novel
    return [2 * novel**2 / total**2, 2 * base**2 / total**2] if total else [0.0, 0.0]


def score_difference(parts: np.ndarray) -> np.ndarray:
    """Return the difference of two methods' scores: (method, part, ...) to (...)."""
    scores = combined_score(parts, 1)
    difference: np.ndarray = scores[0] - scores[1]
    return difference


def mean_difference(values: Values) -> float:
    """Return the difference as on the leaderboard: score the average over data sets for each seed,
    then average over seeds.

    Where data sets have different numbers of seeds, averages over seeds are scored instead.
    """
    if len({x.shape[2] for x in values}) == 1:
        return float(score_difference(np.mean(values, axis=0)).mean())
    return float(score_difference(np.mean([x.mean(2) for x in values], axis=0)))


def dataset_differences(values: Values) -> np.ndarray:
    """Return the mean difference on each data set."""
    return np.array([score_difference(x).mean() for x in values])


def resampled_means(values: Values, draws: int) -> np.ndarray:
    """Return averages over data sets with seeds resampled within each: (method, part, draw)."""
    rng = np.random.default_rng(0)
    total = np.zeros((*values[0].shape[:2], draws))
    for x in values:
        n = x.shape[2]
        total += x[:, :, rng.integers(0, n, (draws, n - 1))].mean(3)
    return total / len(values)


def over_seeds(values: Values, draws: int = DRAWS) -> Difference:
    """Return the difference on these data sets; needs two seeds on every data set."""
    value = mean_difference(values)
    if min(x.shape[2] for x in values) < 2:
        return unknown_difference(value)
    error = float(score_difference(resampled_means(values, draws)).std())
    variances = np.array([score_difference(x).var(ddof=1) / x.shape[2] for x in values])
    freedom = welch_freedom(variances, [x.shape[2] - 1 for x in values])
    return interval(value, error, float(freedom))


def over_datasets(values: Values, draws: int = DRAWS) -> Difference:
    """Return the difference on data sets like these; needs two data sets."""
    value, n = mean_difference(values), len(values)
    if n < 2:
        return unknown_difference(value)
    rng = np.random.default_rng(0)
    means = np.stack([x.mean(2) for x in values])  # (data set, method, part)
    drawn = means[rng.integers(0, n, (draws, n - 1))].mean(1)  # (draw, method, part)
    return interval(value, float(score_difference(np.moveaxis(drawn, 0, 2)).std()), n - 1)


def interval(value: float, error: float, freedom: float) -> Difference:
    """Return a difference with Student's t interval; an error of 0 leaves no doubt."""
    if error < 1e-9:
        return Difference(value, value, value, float(abs(value) < 1e-9), 0.0, freedom)
    half = t_quantile(freedom) * error
    p = float(t_p(value / error, freedom))
    return Difference(value, value - half, value + half, p, error, freedom)


def unknown_difference(value: float) -> Difference:
    """Return a difference of which no noise is known."""
    return Difference(value, math.nan, math.nan, math.nan, math.nan, math.nan)


def welch_freedom(variances: np.ndarray, freedom: Sequence[int]) -> np.ndarray:
    """Return Welch and Satterthwaite's degrees of freedom of a sum over data sets.

    ``variances`` has the shape (data set, ...), ``freedom`` one number per data set.
    """
    n = np.array(freedom).reshape(-1, *[1] * (variances.ndim - 1))
    total = variances.sum(0)
    constant = total < 1e-12
    pooled: np.ndarray = total**2 / np.where(constant, 1, (variances**2 / n).sum(0))
    return np.where(constant, n.sum(), pooled)
