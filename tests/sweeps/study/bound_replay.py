"""What the bound would have done to trials that all ran: how many it stops, how many it misses."""

from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.study.front_bound import FrontBound, Point, best_accuracy


@dataclass(frozen=True)
class Replay:
    """Places, in order of the trials, of what was stopped and of the true front."""

    stopped: frozenset[int]
    front: frozenset[int]
    points: tuple[Point, ...]

    @property
    def saved(self) -> float:
        """Share of the trials that never run."""
        return len(self.stopped) / len(self.points)

    @property
    def missed(self) -> float:
        """Share of the true front that is stopped."""
        return len(self.stopped & self.front) / len(self.front)

    @property
    def lost(self) -> float:
        """The most accuracy that is missing at any cost because of what was stopped."""
        ran = [p for i, p in enumerate(self.points) if i not in self.stopped]
        missing = [self.points[i] for i in self.stopped & self.front]
        return max((p.accuracy - best_accuracy(ran, p.cost) for p in missing), default=0.0)


def replay(trials: Sequence[Point], stride: int = 1) -> Replay:
    """Walk through finished trials in their order, deciding on each from those before it that ran.

    No audits; the bound is learnt again after every ``stride`` trials that ran.
    """
    ran: list[Point] = []
    stopped: set[int] = set()
    bound = FrontBound(ran)
    learnt = 0
    for i, trial in enumerate(trials):
        if len(ran) >= learnt + stride:
            bound, learnt = FrontBound(ran), len(ran)
        if bound.active and bound.stops(trial):
            stopped.add(i)
        else:
            ran.append(trial)
    return Replay(frozenset(stopped), frozenset(front(trials)), tuple(trials))


def front(trials: Sequence[Point]) -> list[int]:
    """Places of the trials that no other beats in both accuracy and cost."""
    return [
        i
        for i, p in enumerate(trials)
        if not any(
            o.cost <= p.cost
            and o.accuracy >= p.accuracy
            and (o.cost, o.accuracy) != (p.cost, p.accuracy)
            for o in trials
        )
    ]
