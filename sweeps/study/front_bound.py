"""An optimistic bound of a trial's accuracy: trials that cannot enter the Pareto front never run.

With two objectives, accuracy up and a parameter count down, the cost of a trial is known before its
first step. Let F(c) be the best accuracy among finished trials that cost at most c. A trial of cost
c can enter the front only if its accuracy is above F(c), so it is stopped when even an optimistic
bound of its accuracy is not.

A Gaussian process over the trial's settings and the logarithm of its cost predicts its accuracy as
m with standard error s. The bound is

    U = m + q s,    q = max(3, largest (y_i - m_i) / s_i),

where m_i and s_i predict the finished trial i from all others. If trials were exchangeable, a new
one would exceed the largest of n such residuals once in n + 1 times; far from what has been tried
s grows, and with it the bound. The first ``START`` trials are never stopped, and every ``AUDIT``-th
trial that would be stopped runs nevertheless, so that a study measures its own rate of misses. On
60 simulated sweeps each (tests/benchmarks/front_bound.py, seeds that did not serve to choose the
form) it stopped 17, 49, 8 and 19 % of the trials and missed 0, 0.5, 1.6 and 4.8 % of the front,
where accuracy saturates, overfits, is noise, or a third of the trials diverges.

Between the runs of a trial (seeds, data sets) a second bound needs no model: the mean after k runs
rose, in finished trials, by at most g until the end; a trial whose mean after k plus g does not
exceed F(c) ends there.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_solve
from scipy.optimize import minimize
from scipy.stats import norm, rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel

START = 12  # finished trials before anything is stopped
AUDIT = 10  # of the trials that would be stopped, one in so many runs
Q = 3.0  # the least optimism, in standard errors
LENGTH_SCALES = (0.15, 2.5)  # bounds, in units of the whole range
NOISE = (0.003, 0.3)  # bounds of the noise, as a share of the variance
STEPS = 20  # of the optimizer of the marginal likelihood


@dataclass(frozen=True)
class Point:
    """A trial: its settings in the unit cube, its cost, and its accuracy once it is finished."""

    settings: tuple[float, ...]
    cost: float
    accuracy: float = float("nan")


class FrontBound:
    """The bound learnt from finished trials."""

    def __init__(self, finished: Sequence[Point]) -> None:
        self.finished = list(finished)
        self.active = len(self.finished) >= START
        if self.active:
            self._learn()

    def upper(self, point: Point) -> float:
        """Return U; it is infinite while there are too few finished trials."""
        if not self.active:
            return float("inf")
        mean, error = self.process.predict(self._features([point]), return_std=True)
        return float(self._mean + self._deviation * (mean[0] + self.q * error[0]))

    def stops(self, point: Point) -> bool:
        """Return whether a trial cannot enter the front even at its bound."""
        return self.upper(point) <= best_accuracy(self.finished, point.cost)

    def _learn(self) -> None:
        accuracy = _with_half_normal_tail(np.array([p.accuracy for p in self.finished]))
        self._mean, self._deviation = accuracy.mean(), accuracy.std() or 1.0
        x = self._features(self.finished)
        kernel = Matern(np.full(x.shape[1], 0.6), LENGTH_SCALES, nu=2.5) + WhiteKernel(0.1, NOISE)
        self.process = GaussianProcessRegressor(kernel, alpha=1e-10, optimizer=_optimize)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a scale at its bound is fine
            self.process.fit(x, (accuracy - self._mean) / self._deviation)
        self.q = max(Q, float(left_out_residuals(self.process).max()))

    def _features(self, points: Sequence[Point]) -> np.ndarray:
        costs = np.log10(1 + np.array([p.cost for p in self.finished]))
        low, span = costs.min(), np.ptp(costs) or 1.0
        return np.array([[*p.settings, (np.log10(1 + p.cost) - low) / span] for p in points])


def best_accuracy(finished: Iterable[Point], cost: float) -> float:
    """Return F: the best accuracy among finished trials that cost at most this much."""
    return max((p.accuracy for p in finished if p.cost <= cost), default=float("-inf"))


def largest_rise(means: Sequence[Sequence[float]], runs: int) -> float:
    """Return g: the most a finished trial's mean rose between its first ``runs`` runs and its end.

    ``means`` holds the running means of each finished trial. With too few, g is infinite.
    """
    if len(means) < START:
        return float("inf")
    return max(m[-1] - m[runs - 1] for m in means)


def left_out_residuals(process: GaussianProcessRegressor) -> np.ndarray:
    """Return (y_i - m_i) / s_i, each point predicted from all others.

    In closed form: Rasmussen and Williams, 2006, equation 5.12.
    """
    inverse = cho_solve((process.L_, True), np.eye(len(process.L_)))
    residuals: np.ndarray = process.alpha_ / np.sqrt(np.diag(inverse))
    return residuals


def _optimize(objective: Any, theta: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, float]:
    """Maximize the marginal likelihood in a few steps."""
    found = minimize(
        objective, theta, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": STEPS}
    )
    return found.x, found.fun


def _with_half_normal_tail(accuracy: np.ndarray) -> np.ndarray:
    """Return accuracies with the lower half raised to a half normal as wide as the upper half.

    A diverged trial is bad, but says nothing about the uncertainty of all others.
    """
    middle = np.median(accuracy)
    upper = accuracy[accuracy >= middle]
    width = float(np.sqrt(np.mean((upper - middle) ** 2)))
    scores = norm.ppf((rankdata(accuracy) - 0.5) / len(accuracy))
    return np.where(accuracy >= middle, accuracy, np.maximum(accuracy, middle + width * scores))
