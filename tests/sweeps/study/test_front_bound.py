"""The bound: optimistic enough to keep the front, tight enough to save work."""

import random

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor

from reports.statistics import dominance
from sweeps.study.front_bound import (
    START,
    FrontBound,
    Point,
    best_accuracy,
    largest_rise,
    left_out_residuals,
)
from tests.benchmarks import front_bound as simulations
from tests.sweeps.study.bound_replay import front, replay


@pytest.mark.parametrize(
    ("name", "saves", "misses"),
    [("saturating", 0.10, 0.02), ("overfitting", 0.30, 0.02), ("flat", 0.03, 0.06),
     ("cliff", 0.10, 0.08)],
)  # fmt: skip
def test_few_members_of_the_front_are_missed_and_work_is_saved(
    name: str, saves: float, misses: float
) -> None:
    found = simulations.measure(simulations.TRUTHS[name], sweeps=10)
    missed = sum(len(r.front & r.stopped) for r in found)
    assert missed / sum(len(r.front) for r in found) <= misses
    assert np.mean([r.saved for r in found]) >= saves


def test_nothing_is_stopped_before_there_is_enough_to_learn_from() -> None:
    trials = simulations.sweep(simulations.overfitting, 60, 1)
    assert min(replay(trials).stopped) >= START
    early = FrontBound(trials[: START - 1])
    assert not early.active
    assert early.upper(trials[-1]) == float("inf")


def test_a_bound_exceeds_what_it_was_learnt_from_left_out() -> None:
    """The closed form of leaving one out is what learning without the trial gives."""
    trials = simulations.sweep(simulations.saturating, 25, 2)
    whole = FrontBound(trials)
    closed = left_out_residuals(whole.process)
    x, y, kernel = whole.process.X_train_, whole.process.y_train_, whole.process.kernel_
    for i in (0, 7, 24):
        rest = [j for j in range(25) if j != i]
        without = GaussianProcessRegressor(kernel, optimizer=None).fit(x[rest], y[rest])
        mean, error = without.predict(x[[i]], return_std=True)
        assert closed[i] == pytest.approx((y[i] - mean[0]) / error[0])


def test_far_from_what_was_tried_there_is_more_doubt() -> None:
    rng = np.random.default_rng(3)
    near = [Point((x, 0.5), 1000.0, 60 + rng.normal(0, 0.3)) for x in rng.random(30) / 3]
    learnt = FrontBound(near)
    upper = [learnt.upper(Point((x, 0.5), 1000.0)) for x in (0.15, 0.5, 1.0)]
    assert 60 < upper[0] < upper[1] < upper[2]


def test_equal_accuracies_are_no_trouble() -> None:
    learnt = FrontBound([Point((i / 20,), 100.0 + i, 40.0) for i in range(20)])
    assert np.isfinite(learnt.upper(Point((0.5,), 500.0)))


def test_the_front_is_that_of_the_reports() -> None:
    rng = random.Random(0)
    for _ in range(20):
        pairs = [(rng.randint(0, 9), rng.randint(0, 9)) for _ in range(15)]
        points = [Point((0.0,), c, q) for c, q in pairs]
        assert set(front(points)) == dominance.front_of_pairs(pairs)
        for c in range(10):
            assert best_accuracy(points, c) == max((q for k, q in pairs if k <= c), default=-np.inf)


def test_between_runs_the_largest_rise_seen_is_granted() -> None:
    means = [[50.0, 52.0, 51.0]] * (START - 1) + [[40.0, 45.0, 47.0]]
    assert largest_rise(means, 1) == 7.0
    assert largest_rise(means, 2) == 2.0
    assert largest_rise(means[1:], 1) == float("inf")
