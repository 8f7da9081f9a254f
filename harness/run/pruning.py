"""Validation checkpoints of a run while it trains, and the rule that may end the run at one."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Checkpoint:
    """Validation scores (per cent) of a run after an epoch, counted from 1."""

    epoch: int
    scores: dict[str, float]


@dataclass(frozen=True)
class PruningRule:
    """The epochs after which a run is validated, and the decision whether it goes on.

    Validation checkpoints do not affect results and are excluded from timing. There is none after
    the last epoch.
    """

    epochs: frozenset[int]
    goes_on: Callable[[Checkpoint], bool]
