"""Looks at a run from outside while it trains: validation scores after some epochs."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """Validation scores (per cent) of a run after an epoch, counted from 1."""

    epoch: int
    scores: dict[str, float]


@dataclass(frozen=True)
class Watch:
    """After which epochs to look, and what decides after each look whether the run goes on.

    Looking changes no number of the run and is not part of its times. A run is never looked at
    after its last epoch, which is its end.
    """

    after: frozenset[int]
    goes_on: Callable[[Look], bool]
