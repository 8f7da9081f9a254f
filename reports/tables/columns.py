"""The columns of a leaderboard, declared once for terminal, Markdown, LaTeX, HTML and the site."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.spec.quantities import QUANTITIES, count_text
from harness.spec.spec import MULTI_TASK
from reports.results.board import Board

MISSING = "-"
Row = Any  # a row of a board


@dataclass(frozen=True)
class BoardColumn:
    """A column: its title, the value of a row, and how a value is written.

    ``about`` explains the title. ``sparse`` columns are left out where no row has a text.
    """

    title: str
    value: Callable[[Row], Any]
    write: Callable[[Any], str] = str
    about: str = ""
    missing: str = MISSING
    words: bool = False
    sparse: bool = False

    def text(self, row: Row) -> str:
        value = self.value(row)
        unknown = isinstance(value, float) and math.isnan(value)
        return self.missing if unknown else self.write(value)


def _digits(digits: int, sign: str = "") -> Callable[[float], str]:
    return lambda value: f"{value:{sign}.{digits}f}"


def _mean(metric: str, scale: float = 1.0) -> Callable[[Row], float]:
    return lambda row: float(row[f"{metric}_mean"]) / scale


def _field(key: str) -> Callable[[Row], Any]:
    return lambda row: row[key]


def _row(row: Row) -> Row:
    return row


def _nonzero(count: int) -> str:
    return str(count or "")


COSTS = (
    BoardColumn(
        "trainable", _mean("params/trainable"), count_text, "parameters that the optimizer updates"
    ),
    BoardColumn("stored", _mean("params/stored"), count_text, "parameters in the saved adapter"),
    BoardColumn(
        "inference", _mean("params/inference"), count_text, "parameters left after folding"
    ),
    BoardColumn("head", _mean("params/head"), count_text, "parameters that depend on the classes"),
    BoardColumn("bytes", _mean("bytes/adapter"), count_text, "size of the saved adapter"),
    BoardColumn("train s", _mean("time/train_seconds"), _digits(1)),
    BoardColumn("ms/step", _mean("time/step_ms"), _digits(1)),
    BoardColumn("peak MB", _mean("memory/peak_bytes", 2**20), _digits(0)),
)
KEYS = (
    BoardColumn("rank", _field("rank"), lambda rank: str(int(rank)), missing="", sparse=True),
    BoardColumn("method", _field("method"), words=True),
    BoardColumn("settings", _field("settings"), words=True, sparse=True),
    BoardColumn("data set", _field("dataset"), words=True),
    BoardColumn("shots", _field("shots")),
)
NOISE = (
    BoardColumn(
        "± images", _field("items"), _digits(2), "noise of the test images alone", "", sparse=True
    ),
    BoardColumn(
        "over zero-shot", _field("gain"), _digits(2, "+"), "points over zero-shot on the same data",
        "", sparse=True,
    ),
)  # fmt: skip
HEALTH = (
    BoardColumn("failed", _field("failed"), _nonzero, sparse=True),
    BoardColumn("missing", _field("missing"), _nonzero, sparse=True),
    BoardColumn("flags", _field("flags"), words=True, sparse=True),
)


def column_label(metric: str) -> str:
    """Return the title of a metric's column; its name where it has none."""
    quantity = QUANTITIES.get(metric)
    return (quantity.label if quantity else "") or metric


def accuracy_columns(board: Board) -> list[BoardColumn]:
    """Return the accuracies of the protocol; for multi_task those of the tasks first."""
    return [
        BoardColumn(column_label(m).removeprefix("acc/"), _row, _write_mean(m))
        for m in (*task_metrics(board), *board.metrics)
    ]


def seeds_column(board: Board) -> BoardColumn:
    return BoardColumn("seeds", _field(f"{board.headline}_n"))


def board_columns(board: Board) -> list[BoardColumn]:
    """Return all columns of a board in their order."""
    costs = [column for column in COSTS if column.title != "head"]
    return [*KEYS, *accuracy_columns(board), *NOISE, *costs, seeds_column(board), *HEALTH]


def task_metrics(board: Board) -> list[str]:
    """Return the accuracies on each of the data sets that are trained together."""
    if board.protocol != MULTI_TASK:
        return []
    names = [c.removesuffix("_mean") for c in board.rows.columns if c.endswith("_mean")]
    accuracies = [n for n in names if n.startswith("acc/") and not n.startswith("acc/val")]
    return [n for n in accuracies if n not in board.metrics]


def mean_and_half(row: Row, metric: str) -> tuple[str, str]:
    """Return mean and half-width of the 95 % t interval over seeds as texts; no half for one."""
    mean, high = row[f"{metric}_mean"], row[f"{metric}_high"]
    if math.isnan(mean):
        return MISSING, ""
    return f"{mean:.2f}", "" if math.isnan(high) else f"{high - mean:.2f}"


def _write_mean(metric: str) -> Callable[[Row], str]:
    return lambda row: " ± ".join(part for part in mean_and_half(row, metric) if part)
