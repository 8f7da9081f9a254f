"""Whether a task tells methods apart: the spread between methods against that between seeds."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, variance

from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError

METRICS = ("acc/base", "acc/novel", "acc/hmean")


@dataclass(frozen=True)
class Spread:
    """Standard deviations, in points: of the methods' means, and of seeds within a method."""

    dataset: str
    metric: str
    methods: int
    between: float
    within: float

    @property
    def tells(self) -> bool:
        return self.between > self.within


def spreads(runs: Iterable[Run]) -> list[Spread]:
    """A row a data set and metric, over the trained methods of the base-to-novel protocol.

    A run that was repeated counts once, the newest. Raises UsageError without two methods with two
    seeds each.
    """
    cells: dict[tuple[str, str], dict[str, Mapping[str, float]]] = {}
    for run in sorted(runs, key=lambda r: r.started):
        tags = run.tags
        known = run.status == "finished" and tags.get("protocol") == "base_to_novel"
        if known and tags["method"] != "zero_shot":
            place = (tags["dataset"], f"{tags['method']} {tags['configuration']}")
            cells.setdefault(place, {})[tags["seed"]] = run.metrics
    found = []
    for dataset in sorted({place[0] for place in cells}):
        groups = [list(c.values()) for place, c in cells.items() if place[0] == dataset]
        groups = [g for g in groups if len(g) > 1]
        if len(groups) > 1:
            found += [_spread(dataset, metric, groups) for metric in METRICS]
    if not found:
        raise UsageError("no data set has two trained methods with two seeds; run a suite first")
    return found


def _spread(dataset: str, metric: str, groups: list[list[Mapping[str, float]]]) -> Spread:
    values = [[run[metric] for run in group] for group in groups]
    between = math.sqrt(variance([fmean(v) for v in values]))
    degrees = sum(len(v) - 1 for v in values)
    within = math.sqrt(sum(variance(v) * (len(v) - 1) for v in values) / degrees)
    return Spread(dataset, metric, len(values), between, within)
