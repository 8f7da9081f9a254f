"""How often `sweeps.study.front_bound` stops a member of the true front, on simulated
sweeps.

python tests/benchmarks/front_bound.py [SWEEPS]
"""

import sys
from collections.abc import Callable

import numpy as np

from sweeps.study.front_bound import Point
from tests.sweeps.study.bound_replay import Replay, replay

Truth = Callable[[np.ndarray, np.random.Generator], float]


def saturating(s: np.ndarray, rng: np.random.Generator) -> float:
    """Accuracy saturates in rank; a learning rate off its best costs; seeds are noise."""
    return 75 - 18 * np.exp(-3 * s[0]) - 25 * (s[1] - 0.6) ** 2 + 0.7 * rng.standard_normal()


def overfitting(s: np.ndarray, rng: np.random.Generator) -> float:
    """The largest adapters overfit few shots, and want a smaller learning rate than small ones."""
    best_rate = 0.8 - 0.5 * s[0]
    peak = 70 - 20 * (s[0] - 0.35) ** 2 - 10 * max(0.0, s[0] - 0.7)
    return peak - 30 * (s[1] - best_rate) ** 2 - 2 * s[2] + 0.7 * rng.standard_normal()


def flat(s: np.ndarray, rng: np.random.Generator) -> float:
    """Rank does nothing; everything is noise."""
    return 60 + rng.standard_normal()


def cliff(s: np.ndarray, rng: np.random.Generator) -> float:
    """High learning rates diverge: a third of the trials is at chance, with other noise."""
    if s[1] > 0.67:
        return 5 + 2 * rng.standard_normal()
    return 50 + 20 * s[0] * (1 - 0.4 * s[0]) + 6 * s[1] + 0.8 * rng.standard_normal()


TRUTHS: dict[str, Truth] = {f.__name__: f for f in (saturating, overfitting, flat, cliff)}


def sweep(truth: Truth, trials: int, seed: int) -> list[Point]:
    """Random trials over rank (which is the cost), learning rate and a third setting."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(trials):
        s = rng.random(3)
        rank = round(2 ** (6 * s[0]))
        found.append(Point(tuple(s), 1000.0 * rank, float(truth(s, rng))))
    return found


def measure(truth: Truth, sweeps: int, trials: int = 60, first: int = 1000) -> list[Replay]:
    """Seeds below 1000 served to choose the form of the bound; these are others."""
    return [replay(sweep(truth, trials, first + i)) for i in range(sweeps)]


def main(sweeps: int) -> None:
    print(f"{sweeps} sweeps of 60 random trials: trials stopped, members of the front missed, and")
    print("the most accuracy (points) missing at any cost, mean over sweeps")
    for name, truth in TRUTHS.items():
        found = measure(truth, sweeps)
        members = sum(len(r.front) for r in found)
        missed = sum(len(r.front & r.stopped) for r in found)
        lost = np.mean([r.lost for r in found])
        saved = np.mean([r.saved for r in found])
        print(f"{name:12} stopped {100 * saved:4.1f} %   missed {100 * missed / members:4.1f} %"
              f"  ({missed} of {members})   lost {lost:.3f}")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
