"""Confidence intervals of means, p-values and Holm's correction.

Student's t comes from ``scipy.special``, which imports in a third of the time of ``scipy.stats``.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy import special


class Estimate(NamedTuple):
    """A mean over ``n`` seeds with its 95 % interval; low and high are NaN for a single seed."""

    mean: float
    low: float
    high: float
    n: int


def t_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> Estimate:
    """Return mean and t interval (sample deviation, n - 1) of one number per seed."""
    sample = np.asarray(values, dtype=float)
    n = len(sample)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = float(sample.mean())
    if n == 1:
        return Estimate(mean, math.nan, math.nan, 1)
    half = float(t_quantile(n - 1, level) * sample.std(ddof=1) / math.sqrt(n))
    return Estimate(mean, mean - half, mean + half, n)


@cache
def t_quantile(freedom: float, level: float = 0.95) -> float:
    """Return the half-width of a t interval in standard errors."""
    return float(special.stdtrit(freedom, 0.5 + level / 2))


def t_p(statistic: Any, freedom: Any) -> Any:
    """Return the two-sided p of t statistics."""
    return 2 * special.stdtr(freedom, -np.abs(statistic))


def holm(ps: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return p-values adjusted by Holm's step-down method; NaN means no test and stays NaN."""
    adjusted = np.array(ps, dtype=float)
    known = np.flatnonzero(~np.isnan(adjusted))
    order = known[np.argsort(adjusted[known])]
    steps = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted
