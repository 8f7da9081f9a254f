"""Accuracy against costs: the configurations on the Pareto front, and how sure that is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.spec.quantities import QUANTITIES, Quantity, find_quantity
from methods.kit.core.errors import UsageError, unknown
from reports.results.board import AVERAGE, Board
from reports.statistics import dominance, multiplier_bootstrap


@dataclass(frozen=True)
class ParetoPoint:
    """One configuration: cost, accuracy with its 95 % interval, and whether it is on the front.

    ``third`` is the third quantity, if there is one. ``chance`` is the probability of being on the
    front on these data sets, ``chance_like`` that on data sets like these; NaN without repeats.
    """

    method: str
    settings: str
    cost: float
    mean: float
    low: float
    high: float
    n: int
    front: bool = False
    group: str = ""
    dataset: str = ""
    third: float = math.nan
    chance: float = math.nan
    chance_like: float = math.nan

    @property
    def label(self) -> str:
        return f"{self.method} {self.settings}".strip()


@dataclass(frozen=True)
class Axes:
    """The two or three quantities of a front."""

    cost: Quantity
    quality: Quantity
    third: Quantity | None = None

    @property
    def all(self) -> tuple[Quantity, ...]:
        return tuple(q for q in (self.cost, self.third, self.quality) if q is not None)

    @property
    def signs(self) -> np.ndarray:
        """The factors that make less better in every column."""
        return np.array([q.sign for q in self.all])


def find_axes(board: Board, cost: str, quality: str, third: str | None = None) -> Axes:
    """Return the quantities by name. Raises UsageError for one that is unknown or not recorded."""
    names = [name for name in (cost, quality, third) if name is not None]
    if len(set(names)) < len(names):
        raise UsageError(f"quantities: {', '.join(names)}: name different ones")
    columns = [c for c in board.rows.columns if c.endswith("_mean") and board.rows[c].notna().any()]
    there = [c.removesuffix("_mean") for c in columns]
    for name in names:
        if name not in there and name in QUANTITIES:
            raise UsageError(
                f"{name}: no run of {board.protocol} on {board.backbone} recorded it; there are"
                f" {', '.join(there)}"
            )
        if name not in there:
            raise unknown(f"metric {name!r}", name, there)
    return Axes(*map(find_quantity, names))


def pareto_points(
    board: Board, axes: Axes, dataset: str | None = None, probabilities: bool = True
) -> list[ParetoPoint]:
    """Return the points of a board's averages or of one data set, cheapest first.

    ``probabilities`` adds their place on the front and the probability of it.
    """
    dataset = dataset or board.summary
    table = board.rows[board.rows["dataset"] == dataset]
    table = table[table[[f"{q.name}_mean" for q in axes.all]].notna().all(axis=1)]
    cost, quality = axes.cost.name, axes.quality.name
    points = [
        ParetoPoint(
            r["method"],
            r["settings"],
            float(r[f"{cost}_mean"]),
            float(r[f"{quality}_mean"]),
            float(r[f"{quality}_low"]),
            float(r[f"{quality}_high"]),
            int(r[f"{quality}_n"]),
            group=r["group"],
            dataset=dataset,
            third=math.nan if axes.third is None else float(r[f"{axes.third.name}_mean"]),
        )
        for _, r in table.iterrows()
    ]
    if probabilities and points:
        points = _with_probabilities(board, points, axes)
    return sorted(points, key=lambda p: (p.cost, -p.mean, p.label))


def coordinates(points: Sequence[ParetoPoint], axes: Axes) -> np.ndarray:
    """Return (point, quantity) as recorded, in the order of the axes."""
    rows = [[p.cost, p.mean] if axes.third is None else [p.cost, p.third, p.mean] for p in points]
    return np.array(rows, dtype=float).reshape(len(points), len(axes.all))


def bootstrap_draws(
    board: Board, points: Sequence[ParetoPoint], axes: Axes
) -> multiplier_bootstrap.Draws:
    """Return the joint deviations of the points' means, in the order of the axes."""
    dataset, cells = points[0].dataset, board.cells
    cells = cells if dataset == AVERAGE else cells[cells["dataset"] == dataset]
    groups, names = [p.group for p in points], [q.name for q in axes.all]
    return multiplier_bootstrap.draw_means(cells, groups, names)


def _with_probabilities(
    board: Board, points: Sequence[ParetoPoint], axes: Axes
) -> list[ParetoPoint]:
    at, draws = coordinates(points, axes), bootstrap_draws(board, points, axes)

    def share(deviations: np.ndarray) -> np.ndarray:
        shares: np.ndarray = dominance.on_front(axes.signs * (at + deviations)).mean(0)
        return shares

    front, chance = dominance.on_front(axes.signs * at), share(draws.seeds)
    like = chance * math.nan if draws.datasets is None else share(draws.datasets)
    return [
        replace(
            p,
            front=bool(front[i]),
            chance=float(chance[i]) if draws.known[i] else math.nan,
            chance_like=float(like[i]),
        )
        for i, p in enumerate(points)
    ]


def measured_on(board: Board) -> str:
    """Return the data sets that the quality was measured on."""
    if len(board.datasets) == 1:
        return board.datasets[0]
    return f"{AVERAGE} of {', '.join(board.datasets)}"
