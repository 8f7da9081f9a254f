"""Accuracy against a cost: which methods nothing else beats on both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from methods.kit.errors import unknown
from reports.table import AVERAGE, Board


@dataclass(frozen=True)
class Point:
    """A way to train: its cost, its accuracy with a 95 % interval, whether it is on the front."""

    method: str
    settings: str
    cost: float
    mean: float
    low: float
    high: float
    n: int
    front: bool = False

    @property
    def label(self) -> str:
        return f"{self.method} {self.settings}".strip()


def points(board: Board, cost: str, quality: str) -> list[Point]:
    """The points of a board (its averages, or its only data set), cheapest first."""
    table = board.averages() if len(board.datasets) > 1 else board.rows
    table = table[table[f"{quality}_mean"].notna()]
    raw = [
        Point(
            r["method"],
            r["settings"],
            float(r[f"{cost}_mean"]),
            float(r[f"{quality}_mean"]),
            float(r[f"{quality}_low"]),
            float(r[f"{quality}_high"]),
            int(r[f"{quality}_n"]),
        )
        for _, r in table.iterrows()
    ]
    best = front([(p.cost, p.mean) for p in raw])
    marked = [Point(**{**vars(p), "front": i in best}) for i, p in enumerate(raw)]
    return sorted(marked, key=lambda p: (p.cost, -p.mean, p.label))


def front(pairs: Sequence[tuple[float, float]]) -> set[int]:
    """Indices of the pairs (cost, quality) that no other beats: cheaper-or-equal and
    better-or-equal, one of them strictly."""
    kept: set[int] = set()
    best = -math.inf
    order = sorted(range(len(pairs)), key=lambda i: (pairs[i][0], -pairs[i][1]))
    for i in order:
        cost, quality = pairs[i]
        twin = any(pairs[j] == (cost, quality) for j in kept)
        if quality > best or twin:
            kept.add(i)
            best = max(best, quality)
    return kept


def csv(found: Sequence[Point], cost: str, quality: str) -> str:
    """The numbers of the picture in full precision."""
    rows = [
        {
            "method": p.method,
            "settings": p.settings,
            cost: p.cost,
            f"{quality}_mean": p.mean,
            f"{quality}_low": p.low,
            f"{quality}_high": p.high,
            f"{quality}_n": p.n,
            "front": p.front,
        }
        for p in found
    ]
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def write(board: Board, folder: Path, cost: str, quality: str) -> list[Path]:
    """Write pareto.png, pareto.svg and pareto.csv; same rows, same bytes."""
    from reports import draw  # matplotlib is slow to import

    found = points(board, cost, quality)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"pareto.{kind}" for kind in ("png", "svg", "csv")]
    draw.pareto(found, board, cost, quality, paths[0], paths[1])
    paths[2].write_text(csv(found, cost, quality))
    return paths


def where(board: Board) -> str:
    """What the quality was measured on."""
    if len(board.datasets) == 1:
        return board.datasets[0]
    return f"{AVERAGE} of {', '.join(board.datasets)}"


def check(board: Board, *names: str) -> None:
    """Raises UsageError for a quantity that is not recorded."""
    there = [c.removesuffix("_mean") for c in board.rows.columns if c.endswith("_mean")]
    for name in names:
        if name not in there:
            raise unknown(f"metric {name!r}", name, there)
