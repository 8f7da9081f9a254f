"""The difference of two methods with its interval, by a paired bootstrap over clusters.

Two questions, two kinds of cluster. *On these data sets*: seeds are drawn anew within each data
set, with both methods and all images of a seed together. *On data sets like these*: whole data
sets are drawn anew, each with its seeds. The bootstrap gives the standard error of the difference,
also of a difference of harmonic means; as clusters are few (three seeds, five data sets), n - 1 of
n are drawn, which makes that error unbiased (McCarthy and Snowden, 1985), and the interval is as
wide as Student's t says, not the percentiles, which are too narrow for so few.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

DRAWS = 10_000
Values = Sequence[np.ndarray]  # a data set each: (method, part, seed)


class Difference(NamedTuple):
    """First method minus second, in points, with its 95 % interval and two-sided p.

    ``error`` is the standard error, ``freedom`` its degrees of freedom. NaN where nothing was
    repeated, and so nothing is known about noise.
    """

    value: float
    low: float
    high: float
    p: float
    error: float
    freedom: float


def combined_score(parts: np.ndarray, axis: int) -> np.ndarray:
    """One part as it is; of two their harmonic mean, 0 where both are 0."""
    if parts.shape[axis] == 1:
        return parts.take(0, axis)
    base, novel = parts.take(0, axis), parts.take(1, axis)
    total = base + novel
    found: np.ndarray = 2 * base * novel / np.where(total == 0, 1, total)
    return found


def score_difference(parts: np.ndarray) -> np.ndarray:
    """(method, part, ...) to the difference of the two methods' scores (...)."""
    both = combined_score(parts, 1)
    found: np.ndarray = both[0] - both[1]
    return found


def mean_difference(values: Values) -> float:
    """As on the leaderboard: parts averaged over data sets seed by seed, their score, its mean.

    Where data sets have different numbers of seeds, of the averages over seeds instead.
    """
    if len({x.shape[2] for x in values}) == 1:
        return float(score_difference(np.mean(values, axis=0)).mean())
    return float(score_difference(np.mean([x.mean(2) for x in values], axis=0)))


def dataset_differences(values: Values) -> np.ndarray:
    """The mean difference on each data set."""
    return np.array([score_difference(x).mean() for x in values])


def over_seeds(values: Values, draws: int = DRAWS) -> Difference:
    """On these data sets, were the seeds others. Needs two seeds on every data set."""
    value = mean_difference(values)
    if min(x.shape[2] for x in values) < 2:
        return unknown_difference(value)
    rng = np.random.default_rng(0)
    total = np.zeros((*values[0].shape[:2], draws))
    for x in values:
        n = x.shape[2]
        total += x[:, :, rng.integers(0, n, (draws, n - 1))].mean(3)
    error = float(score_difference(total / len(values)).std())
    return interval(value, error, _freedom(values))


def over_datasets(values: Values, draws: int = DRAWS) -> Difference:
    """On data sets like these. Needs two of them."""
    value, n = mean_difference(values), len(values)
    if n < 2:
        return unknown_difference(value)
    rng = np.random.default_rng(0)
    means = np.stack([x.mean(2) for x in values])  # (data set, method, part)
    drawn = means[rng.integers(0, n, (draws, n - 1))].mean(1)  # (draw, method, part)
    return interval(value, float(score_difference(np.moveaxis(drawn, 0, 2)).std()), n - 1)


def interval(value: float, error: float, freedom: float, level: float = 0.95) -> Difference:
    """Student's t around a difference. An error of 0 leaves no doubt."""
    if error < 1e-9:
        return Difference(value, value, value, float(abs(value) < 1e-9), 0.0, freedom)
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(value) / error, freedom))
    return Difference(value, value - half, value + half, p, error, freedom)


def unknown_difference(value: float) -> Difference:
    return Difference(value, math.nan, math.nan, math.nan, math.nan, math.nan)


def _freedom(values: Values) -> float:
    """Welch and Satterthwaite: data sets differ in how much seeds matter."""
    own = np.array([score_difference(x).var(ddof=1) / x.shape[2] for x in values])
    n = np.array([x.shape[2] - 1 for x in values])
    if own.sum() < 1e-12:
        return float(n.sum())
    return float(own.sum() ** 2 / (own**2 / n).sum())
