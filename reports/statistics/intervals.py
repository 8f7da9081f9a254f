"""Intervals: the mean over seeds with a t interval, never a bare 1.96."""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import stats


class Estimate(NamedTuple):
    """A mean over ``n`` seeds with its 95 % interval; low and high are NaN for a single seed."""

    mean: float
    low: float
    high: float
    n: int


def t_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> Estimate:
    """Mean and t interval (sample deviation, n - 1) of one number a seed."""
    sample = np.asarray(values, dtype=float)
    n = len(sample)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = float(sample.mean())
    if n == 1:
        return Estimate(mean, math.nan, math.nan, 1)
    half = float(_t(level, n - 1) * sample.std(ddof=1) / math.sqrt(n))
    return Estimate(mean, mean - half, mean + half, n)


@cache
def _t(level: float, freedom: int) -> float:
    return float(stats.t.ppf(0.5 + level / 2, freedom))
