"""A board as papers print it: a row a method, a column a data set, then the averages."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from harness.console import count_text
from reports.leaderboard import LABELS, MISSING
from reports.table import ACCURACY, AVERAGE, Board

# The order in which the field lists its data sets (CoOp, Zhou et al., 2022); others follow.
ORDER = (
    *("imagenet", "caltech101", "oxford_pets", "stanford_cars", "oxford_flowers", "food101"),
    *("fgvc_aircraft", "sun397", "dtd", "eurosat", "ucf101"),
)


class Cell(NamedTuple):
    """A printed number; ``place`` is 1 for the best of its column, 2 for the second, else 0.

    Equal as printed is equal in place.
    """

    text: str
    half: str  # half of the interval over seeds, or nothing
    place: int


class Wide(NamedTuple):
    """``heads`` name the columns of ``cells``; ``names``, ``ranks`` and ``flags`` go with rows."""

    heads: list[str]
    names: list[str]
    ranks: list[str]
    parameters: list[str]
    cells: list[list[Cell]]
    flags: list[str]


def ordered(datasets: Sequence[str]) -> list[str]:
    """Data sets in the field's order, unknown ones after them by name."""
    return sorted(datasets, key=lambda d: (ORDER.index(d) if d in ORDER else len(ORDER), d))


def wide(board: Board) -> Wide:
    """The ranking metric on each data set, then every accuracy of the average."""
    columns = [(d, board.headline) for d in ordered(board.datasets)]
    heads = [d for d, _ in columns]
    last = AVERAGE if len(board.datasets) > 1 else board.datasets[0]
    if last == AVERAGE or len(ACCURACY[board.protocol]) > 1:
        if last != AVERAGE:
            columns, heads = [], []
        columns += [(last, metric) for metric in ACCURACY[board.protocol]]
        heads += [f"{last} {LABELS[metric]}" for metric in ACCURACY[board.protocol]]
    main = board.rows[board.rows["dataset"] == last]
    rows = board.rows.set_index(["group", "dataset"])
    by_column = [
        _column([rows.loc[(group, d)] for group in main["group"]], metric) for d, metric in columns
    ]
    return Wide(
        heads,
        [f"{r['method']} {r['settings']}".strip() for _, r in main.iterrows()],
        [rank_text(r["rank"]) for _, r in main.iterrows()],
        [_count(r["params/trainable_mean"]) for _, r in main.iterrows()],
        [list(cells) for cells in zip(*by_column, strict=True)],
        main["flags"].tolist(),
    )


def rank_text(rank: float) -> str:
    return MISSING if math.isnan(rank) else str(int(rank))


def _column(rows: Sequence[pd.Series], metric: str) -> list[Cell]:
    means = [float(r[f"{metric}_mean"]) for r in rows]
    texts = [MISSING if math.isnan(m) else f"{m:.2f}" for m in means]
    best = sorted({t for t in texts if t != MISSING}, key=float, reverse=True)
    places = {text: i + 1 for i, text in enumerate(best[:2])}
    halves = [float(r[f"{metric}_high"] - r[f"{metric}_mean"]) for r in rows]
    return [
        Cell(text, "" if math.isnan(half) else f"{half:.2f}", places.get(text, 0))
        for text, half in zip(texts, halves, strict=True)
    ]


def _count(value: float) -> str:
    return MISSING if math.isnan(value) else count_text(value)
