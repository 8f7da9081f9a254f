"""The leaderboard: as rows of text for the terminal and Markdown, and as a tidy CSV."""

import math
from typing import Any

import pandas as pd

from harness.spec.protocols import SHIFTS
from harness.spec.quantities import QUANTITIES, count_text
from harness.spec.spec import MULTI_TASK
from reports.results.board import ACCURACY, AVERAGE, Board, board_title

LABELS = {name: quantity.label for name, quantity in QUANTITIES.items() if quantity.label}
MISSING = "-"
WORDS = ("method", "settings", "data set", "flags")


# What a narrow terminal can do without, the first to go first; the files have everything.
OPTIONAL_COLUMNS = (
    *("bytes", "stored", "peak MB", "inference", "train s", "ms/step", "shots", "missing"),
    *("± images", "seeds", "base", "novel", "over zero-shot"),
)
# Columns that go where no row has anything to say in them.
SPARSE_COLUMNS = ("rank", "settings", "failed", "missing", "over zero-shot", "± images", "flags")


def visible_table(board: Board) -> tuple[list[str], list[list[str]]]:
    """Headings and cells, best method first; columns that say nothing are left out."""
    heads = _heads(board)
    cells = [_cells(board, row) for _, row in board.rows.iterrows()]
    empty = {
        i
        for i, head in enumerate(heads)
        if head in SPARSE_COLUMNS and not any(row[i] for row in cells)
    }
    kept = [i for i in range(len(heads)) if i not in empty]
    return [heads[i] for i in kept], [[row[i] for i in kept] for row in cells]


def _heads(board: Board) -> list[str]:
    return [
        "rank",
        "method",
        "settings",
        "data set",
        "shots",
        *(m.removeprefix("acc/") for m in task_metrics(board)),
        *(LABELS[m] for m in ACCURACY[board.protocol]),
        "± images",
        "over zero-shot",
        "trainable",
        "stored",
        "inference",
        "bytes",
        "train s",
        "ms/step",
        "peak MB",
        "seeds",
        "failed",
        "missing",
        "flags",
    ]


def _cells(board: Board, row: Any) -> list[str]:
    headline = f"{board.headline}_n"
    main = row["dataset"] == AVERAGE or len(board.datasets) == 1  # the row that is ranked
    return [
        "" if math.isnan(row["rank"]) or not main else str(int(row["rank"])),
        row["method"],
        row["settings"],
        row["dataset"],
        row["shots"],
        *(mean_text(row, m) for m in (*task_metrics(board), *ACCURACY[board.protocol])),
        "" if math.isnan(row["items"]) else f"{row['items']:.2f}",
        "" if math.isnan(row["gain"]) else f"{row['gain']:+.2f}",
        *(_count(row[f"params/{p}_mean"]) for p in ("trainable", "stored", "inference")),
        _count(row["bytes/adapter_mean"]),
        _number(row["time/train_seconds_mean"], 1),
        _number(row["time/step_ms_mean"], 1),
        _number(row["memory/peak_bytes_mean"] / 2**20, 0),
        str(row[headline]),
        str(row["failed"] or ""),
        str(row["missing"] or ""),
        row["flags"],
    ]


def task_metrics(board: Board) -> list[str]:
    """The accuracies on each of the data sets that are trained together."""
    if board.protocol != MULTI_TASK:
        return []
    means = [c for c in board.rows.columns if c.startswith("acc/") and c.endswith("_mean")]
    names = [c.removesuffix("_mean") for c in means]
    return [n for n in names if n not in ACCURACY[MULTI_TASK] and not n.startswith("acc/val")]


def mean_text(row: Any, metric: str) -> str:
    """``64.62 ± 1.31``: the mean and half of the 95 % t interval over seeds."""
    mean, high = row[f"{metric}_mean"], row[f"{metric}_high"]
    if math.isnan(mean):
        return MISSING
    return f"{mean:.2f}" if math.isnan(high) else f"{mean:.2f} ± {high - mean:.2f}"


def board_markdown(board: Board) -> str:
    """The table as GitHub Markdown, with what its columns mean."""
    heads, cells = visible_table(board)
    numeric = {i for i, head in enumerate(heads) if head not in WORDS}
    lines = [f"## {board_title(board)}", "", _md(heads)]
    lines.append("|" + "|".join("---:" if i in numeric else "---" for i in range(len(heads))) + "|")
    for row, dataset in zip(cells, board.rows["dataset"], strict=True):
        bold = dataset == AVERAGE
        lines.append(_md([f"**{c}**" if c and bold else c for c in row]))
    lines += ["", *(f"- {note}" for note in (*board.notes, *board_notes(board)))]
    return "\n".join(lines) + "\n"


def board_notes(board: Board) -> list[str]:
    """What the numbers are."""
    notes = ["accuracies in per cent; ± is half of the 95 % t interval over seeds"]
    if board.protocol == "base_to_novel":
        notes.append("H is the harmonic mean of base and novel; of their averages in average rows")
    if board.rows["rank"].notna().any():
        notes.append(
            "rank: one more than the number of rows surely ahead (paired over seeds, Holm); rows of"
            " one rank cannot all be told apart"
        )
    if board.rows["items"].notna().any():
        notes.append("± images: half of the 95 % interval from the choice of test images alone")
    if board.protocol == MULTI_TASK:
        notes.append("mean is the mean over the data sets that one adapter was trained on at once")
    if board.protocol in SHIFTS:
        notes.append("targets is the mean over the data sets that were only tested")
    if (board.rows["missing"] > 0).any() or (board.rows["failed"] > 0).any():
        notes.append("an average needs every data set: seeds with a missing cell are not in it")
    behind = board.rows["time/source_seconds_mean"].max()
    if behind > 0:
        notes.append(
            f"the training of runs that others started from or are made of, up to {behind:,.0f} s,"
            " is not in the times"
        )
    return notes


def leaderboard_records(board: Board) -> list[dict[str, Any]]:
    """The rows of the CSV as plain values; what is missing is None."""
    kept = board.rows.astype(object)
    found: list[dict[str, Any]] = kept.where(kept.notna(), None).to_dict("records")
    return found


def boards_csv(found: list[Board]) -> str:
    """All boards as one tidy table, numbers in full precision."""
    return pd.concat([b.rows for b in found]).to_csv(index=False, lineterminator="\n")


def _md(cells: list[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def _count(value: float) -> str:
    return MISSING if math.isnan(value) else count_text(value)


def _number(value: float, digits: int) -> str:
    return MISSING if math.isnan(value) else f"{value:.{digits}f}"
