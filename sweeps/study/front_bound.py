"""An optimistic bound of a trial's accuracy, so that trials that cannot enter the front never run.

With two objectives, accuracy up and a count of parameters down, the cost of a trial is known
before its first step. Let F(c) be the best accuracy among finished trials that cost at most c. A
trial of cost c can enter the front only if its accuracy is above F(c), so it is stopped when even
an optimistic bound of its accuracy is not.

Which bound: a Gaussian process over the trial's settings and the logarithm of its cost predicts
its accuracy as m with standard error s. The bound is

    U = m + q s,    q = max(3, largest (y_i - m_i) / s_i),

where m_i and s_i predict the finished trial i from all others. It is learnt from finished trials
alone: length scales and noise by marginal likelihood, q by leaving one out. Were trials
exchangeable, a new one would exceed the largest of n such residuals once in n + 1 times; far from
what has been tried s grows, and with it the benefit of the doubt. Trials of the first
``START`` are never stopped, and every ``AUDIT``-th trial that would be stopped runs nevertheless,
so that a study measures its own rate of misses. ``replay`` measures it after the fact. On 60
simulated sweeps each (tests/benchmarks/front_bound.py, seeds that did not serve to choose the form)
it stopped 16, 48, 9 and 18 % of the trials and missed 0, 0.5, 2.6 and 4.8 % of the front, where
accuracy saturates, overfits, is noise, or a third of the trials diverges.

Between the runs of a trial (seeds, data sets) a second bound needs no model: the mean after k runs
moved, in finished trials, by at most g until the end; a trial whose mean after k plus g does not
pass F(c) ends there.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

START = 12  # finished trials before anything is stopped
AUDIT = 10  # of the trials that would be stopped, one in so many runs
Q = 3.0  # the least optimism, in standard errors
SCALES = (0.15, 0.3, 0.6, 1.2, 2.5)  # length scales in units of the whole range
NOISES = (0.003, 0.01, 0.03, 0.1, 0.3)  # share of the variance that is not signal


@dataclass(frozen=True)
class Point:
    """A trial: its settings in the unit cube, its cost, and, once it is finished, its accuracy."""

    settings: tuple[float, ...]
    cost: float
    accuracy: float = float("nan")


class Bound:
    """The bound learnt from finished trials."""

    def __init__(self, finished: Sequence[Point]) -> None:
        self.finished = list(finished)
        self.active = len(self.finished) >= START
        if self.active:
            self._learn()

    def upper(self, point: Point) -> float:
        """U: the most a trial is believed to reach; infinite while there is too little to learn."""
        if not self.active:
            return float("inf")
        near = _kernel(self._features([point]), self._x, self.scales)[0] * (1 - self.noise)
        mean = near @ self._weights
        variance = 1 - near @ self._inverse @ near
        return float(self._mean + self._deviation * (mean + self.q * np.sqrt(max(variance, 1e-12))))

    def stops(self, point: Point) -> bool:
        """Whether a trial cannot enter the front even at its bound."""
        return self.upper(point) <= best(self.finished, point.cost)

    # --- learning ----------------------------------------------------------------------------

    def _learn(self) -> None:
        accuracy = _lifted(np.array([p.accuracy for p in self.finished]))
        self._mean, self._deviation = accuracy.mean(), accuracy.std() or 1.0
        y = (accuracy - self._mean) / self._deviation
        self._x = self._features(self.finished)
        self.scales, self.noise = _fit(self._x, y)
        self._inverse = np.linalg.inv(_covariance(self._x, self.scales, self.noise))
        self._weights = self._inverse @ y
        # leaving one out, in closed form (Rasmussen and Williams, 2006, 5.12)
        error = 1 / np.sqrt(np.diag(self._inverse))
        self.q = max(Q, float((self._weights * error).max()))

    def _features(self, points: Sequence[Point]) -> np.ndarray:
        costs = np.log10(1 + np.array([p.cost for p in self.finished]))
        low, span = costs.min(), np.ptp(costs) or 1.0
        return np.array([[*p.settings, (np.log10(1 + p.cost) - low) / span] for p in points])


def best(finished: Iterable[Point], cost: float) -> float:
    """F: the best accuracy among finished trials that cost at most this much."""
    return max((p.accuracy for p in finished if p.cost <= cost), default=float("-inf"))


def drift(means: Sequence[Sequence[float]], runs: int) -> float:
    """g: the most a finished trial's mean rose between its first ``runs`` runs and its end.

    ``means`` holds the running means of each finished trial; infinite while there are too few.
    """
    if len(means) < START:
        return float("inf")
    return max(m[-1] - m[runs - 1] for m in means)


def _covariance(x: np.ndarray, scales: np.ndarray, noise: float) -> np.ndarray:
    return _kernel(x, x, scales) * (1 - noise) + noise * np.eye(len(x))


def _kernel(a: np.ndarray, b: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Matern 5/2."""
    gaps = (a[:, None] - b[None]) / scales
    r = np.sqrt(5 * np.square(gaps).sum(-1))
    kernel: np.ndarray = (1 + r + r * r / 3) * np.exp(-r)
    return kernel


def _fit(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Length scales and noise of the largest marginal likelihood, one coordinate after another."""
    scales, noise = np.full(x.shape[1], 0.6), 0.1
    best = _likelihood(x, y, scales, noise)
    for _, i in itertools.product(range(2), range(x.shape[1] + 1)):
        for value in NOISES if i == x.shape[1] else SCALES:
            trial, level = scales.copy(), noise
            if i == x.shape[1]:
                level = value
            else:
                trial[i] = value
            found = _likelihood(x, y, trial, level)
            if found > best:
                best, scales, noise = found, trial, level
    return scales, noise


def _likelihood(x: np.ndarray, y: np.ndarray, scales: np.ndarray, noise: float) -> float:
    root = np.linalg.cholesky(_covariance(x, scales, noise))
    half = np.linalg.solve(root, y)
    return float(-0.5 * half @ half - np.log(np.diag(root)).sum())


def _lifted(accuracy: np.ndarray) -> np.ndarray:
    """Accuracies, the lower half drawn up to a half normal as wide as the upper half.

    What diverged says that it is bad, not how uncertain everything else is.
    """
    middle = np.median(accuracy)
    upper = accuracy[accuracy >= middle]
    width = float(np.sqrt(np.mean((upper - middle) ** 2)))
    scores = norm.ppf((rankdata(accuracy) - 0.5) / len(accuracy))
    return np.where(accuracy >= middle, accuracy, np.maximum(accuracy, middle + width * scores))
