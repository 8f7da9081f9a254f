"""Accuracy against costs: which configurations nothing else beats, and how sure that is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.spec import quantities
from harness.spec.quantities import Quantity
from methods.kit.core.errors import UsageError, unknown
from reports.results.board import AVERAGE, Board
from reports.statistics import dominance, multiplier_bootstrap

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class ParetoPoint:
    """A way to train: its cost, its accuracy with a 95 % interval, whether it is on the front.

    ``third`` is the third quantity, if there is one. ``chance`` is the probability of being on the
    front on these data sets, ``chance_like`` that on data sets like these; NaN where nothing was
    repeated.
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
    """The two or three quantities that are weighed against each other."""

    cost: Quantity
    quality: Quantity
    third: Quantity | None = None

    @property
    def all(self) -> tuple[Quantity, ...]:
        return tuple(q for q in (self.cost, self.third, self.quality) if q is not None)

    @property
    def signs(self) -> np.ndarray:
        """Times these, less is better in every column."""
        return np.array([q.sign for q in self.all])


def find_axes(board: Board, cost: str, quality: str, third: str | None = None) -> Axes:
    """The quantities by name. Raises UsageError for one that is unknown or not recorded here."""
    names = [name for name in (cost, quality, third) if name is not None]
    if len(set(names)) < len(names):
        raise UsageError(f"quantities: {', '.join(names)}: name different ones")
    check_recorded(board, *names)
    found = [quantities.find_quantity(name) for name in names]
    return Axes(found[0], found[1], found[2] if third is not None else None)


def pareto_points(
    board: Board,
    cost: str,
    quality: str,
    third: str | None = None,
    dataset: str | None = None,
    judged: bool = True,
) -> list[ParetoPoint]:
    """The points of a board, cheapest first: its averages, or those of one data set; with their
    place on the front and its chances where they are to be ``judged``."""
    asked = find_axes(board, cost, quality, third)
    dataset = dataset or (AVERAGE if len(board.datasets) > 1 else board.datasets[0])
    table = board.rows[board.rows["dataset"] == dataset]
    table = table[table[[f"{q.name}_mean" for q in asked.all]].notna().all(axis=1)]
    raw = [
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
            third=math.nan if third is None else float(r[f"{third}_mean"]),
        )
        for _, r in table.iterrows()
    ]
    found = _judged(board, raw, asked) if judged else raw
    return sorted(found, key=lambda p: (p.cost, -p.mean, p.label))


def coordinates(found: Sequence[ParetoPoint], asked: Axes) -> np.ndarray:
    """(point, quantity) as recorded, in the order of the axes."""
    rows = [[p.cost, p.mean] if asked.third is None else [p.cost, p.third, p.mean] for p in found]
    return np.array(rows, dtype=float).reshape(len(found), len(asked.all))


def bootstrap_draws(
    board: Board, found: Sequence[ParetoPoint], asked: Axes
) -> multiplier_bootstrap.Draws:
    """How far the means of points could move together, in the order of the axes."""
    dataset = found[0].dataset
    cells = board.cells
    cells = cells if dataset == AVERAGE else cells[cells["dataset"] == dataset]
    return multiplier_bootstrap.draw_means(
        cells, [p.group for p in found], [q.name for q in asked.all]
    )


def _judged(board: Board, raw: list[ParetoPoint], asked: Axes) -> list[ParetoPoint]:
    """The points with their place on the front and its chances."""
    if not raw:
        return []
    at, moved = coordinates(raw, asked), bootstrap_draws(board, raw, asked)
    on = dominance.on_front(asked.signs * at)
    sure = _share(at, moved.seeds, asked)
    like = sure * math.nan if moved.datasets is None else _share(at, moved.datasets, asked)
    return [
        replace(
            p,
            front=bool(on[i]),
            chance=float(sure[i]) if moved.known[i] else math.nan,
            chance_like=float(like[i]),
        )
        for i, p in enumerate(raw)
    ]


def _share(at: np.ndarray, moves: np.ndarray, asked: Axes) -> np.ndarray:
    found: np.ndarray = dominance.on_front(asked.signs * (at + moves)).mean(0)
    return found


def measured_on(board: Board) -> str:
    """What the quality was measured on."""
    if len(board.datasets) == 1:
        return board.datasets[0]
    return f"{AVERAGE} of {', '.join(board.datasets)}"


def check_recorded(board: Board, *names: str) -> None:
    """Raises UsageError for a quantity that is unknown, or not recorded by any run here."""
    ends = "_mean"
    there = [c.removesuffix(ends) for c in board.rows.columns if c.endswith(ends)]
    there = [name for name in there if board.rows[f"{name}{ends}"].notna().any()]
    for name in names:
        if name not in there and name in quantities.QUANTITIES:
            raise UsageError(
                f"{name}: no run of {board.protocol} on {board.backbone} recorded it; there are"
                f" {', '.join(there)}"
            )
        if name not in there:
            raise unknown(f"metric {name!r}", name, there)
