"""How arms are timed: equal results first, then paired rounds in random order.

A ratio is the peer's time over ours within one round, so what the machine does meanwhile meets both
alike. Nothing is compared with a time of another process.
"""

import math
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from tests.benchmarks import device

Arm = Callable[[], object]
SPREAD = 15  # per cent between quartiles; above it a case is measured once more
SHORTEST = 0.02  # seconds; shorter arms are called several times a round


@dataclass(frozen=True)
class Case:
    """Some ways to the same result; the first is ours, the others are its peers.

    ``check`` raises where the results differ. ``goals`` are the least ratios of peers' times to
    ours, on a CPU. ``clock``: processor time, which other processes disturb little, or wall time
    where an arm starts processes or threads, and on a GPU. ``facts`` is what the case wants to be
    recorded; ``after`` runs when all rounds are over, and may raise as ``check`` does. ``weights``:
    how often the work of an arm would have to be done to equal that of the others.
    """

    name: str
    arms: Mapping[str, Arm]
    check: Callable[[], object]
    goals: Mapping[str, float] = field(default_factory=dict)
    rounds: int = 7
    warm: int = 2
    clock: Literal["cpu", "wall"] = "cpu"
    threads: int = 1
    facts: dict[str, Any] = field(default_factory=dict)
    after: Arm = lambda: None
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Timing:
    """A peer's time over ours: quartiles over rounds, and median milliseconds of both."""

    row: str
    case: str
    ours: str
    peer: str
    low: float
    median: float
    high: float
    ours_ms: float
    peer_ms: float
    rounds: int
    clock: str
    threads: int
    goal: float | None
    repeated: bool
    load: float  # processes that wanted to run when it began

    @property
    def reached(self) -> bool | None:
        """Whether the lower quartile reaches the goal; None without one."""
        return None if self.goal is None else self.low >= self.goal


def measure(row: str, case: Case, quick: bool = False) -> Iterator[Timing]:
    """The timings of a case, one a peer. Raises AssertionError where results differ."""
    torch.set_num_threads(case.threads)
    case.check()
    load = os.getloadavg()[0]
    took = _rounds(case, quick)
    repeated = not quick and (_spread(took) > SPREAD or load > (os.cpu_count() or 1))
    if repeated:
        again = _rounds(case, quick)
        took = min(took, again, key=_spread)
    case.after()
    (ours, mine), *peers = took.items()
    for peer, theirs in peers:
        ratios = [b / a for a, b in zip(mine, theirs, strict=True)]
        low, median, high = quartiles(ratios)
        yield Timing(
            row, case.name, ours, peer, low, median, high,
            1000 * statistics.median(mine), 1000 * statistics.median(theirs),
            len(mine), case.clock if device.on_cpu() else "wall", case.threads,
            case.goals.get(peer) if device.on_cpu() else None, repeated, load,
        )  # fmt: skip


def quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def _rounds(case: Case, quick: bool) -> dict[str, list[float]]:
    """Seconds of each arm in each round."""
    rounds, warm = (min(3, case.rounds), min(1, case.warm)) if quick else (case.rounds, case.warm)
    cpu = case.clock == "cpu" and device.on_cpu()
    clock = time.process_time if cpu else time.perf_counter
    calls = dict.fromkeys(case.arms, 1)
    took: dict[str, list[float]] = {name: [] for name in case.arms}
    for i in range(-warm, rounds):
        for name in random.sample(list(case.arms), len(case.arms)):
            arm, count = case.arms[name], calls[name]
            device.wait()
            began = clock()
            for _ in range(count):
                arm()
            device.wait()
            each = (clock() - began) / count * case.weights.get(name, 1.0)
            if i < 0:
                calls[name] = math.ceil(SHORTEST / max(each, 1e-6)) if each < SHORTEST else 1
            else:
                took[name].append(each)
    return took


def _spread(took: dict[str, list[float]]) -> float:
    """The widest distance between quartiles of a ratio, in per cent of its median."""
    mine, *peers = took.values()
    found = [0.0]
    for theirs in peers:
        low, median, high = quartiles([b / a for a, b in zip(mine, theirs, strict=True)])
        found.append(100 * (high - low) / median)
    return max(found)
