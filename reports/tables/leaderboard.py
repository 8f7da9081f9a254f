"""The leaderboard as text: rows for terminal and Markdown, and a tidy CSV."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.spec.protocols import SHIFTS
from harness.spec.spec import MULTI_TASK
from reports.results.board import AVERAGE, Board, board_title
from reports.tables.columns import board_columns

# Columns that a narrow terminal leaves out, the first one first; files have all of them.
OPTIONAL_COLUMNS = (
    *("bytes", "stored", "peak MB", "inference", "train s", "ms/step", "shots", "missing"),
    *("± images", "seeds", "base", "novel", "over zero-shot"),
)


def visible_table(board: Board) -> tuple[list[str], list[list[str]]]:
    """Return titles and cells, best method first, without sparse columns that are empty."""
    shown = []
    for column in board_columns(board):
        cells = [column.text(row) for _, row in board.rows.iterrows()]
        if column.title == "rank":  # only the summary of a configuration is ranked
            summary = board.rows["dataset"] == board.summary
            cells = [cell if ranked else "" for cell, ranked in zip(cells, summary, strict=True)]
        if not column.sparse or any(cells):
            shown.append((column.title, cells))
    rows = zip(*(cells for _, cells in shown), strict=True)
    return [title for title, _ in shown], [list(row) for row in rows]


def board_markdown(board: Board) -> str:
    """Return the table as GitHub Markdown with notes on its columns."""
    titles, rows = visible_table(board)
    words = {column.title for column in board_columns(board) if column.words}
    for row, dataset in zip(rows, board.rows["dataset"], strict=True):
        if dataset == AVERAGE:
            row[:] = [f"**{cell}**" if cell else cell for cell in row]
    aligned = ["---" if title in words else "---:" for title in titles]
    lines = [f"## {board_title(board)}", "", *markdown_table(titles, rows, aligned), ""]
    lines += [f"- {note}" for note in (*board.notes, *board_notes(board))]
    return "\n".join(lines) + "\n"


def markdown_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], aligned: Sequence[str] = ()
) -> list[str]:
    """Return the lines of a Markdown table; ``aligned`` are the marks below the titles."""
    lines = ["|" + "|".join(aligned or ["---"] * len(titles)) + "|"]
    texts = [
        " | ".join(cell.strip().replace("|", "\\|") for cell in row) for row in (titles, *rows)
    ]
    head, *body = (f"| {text} |" for text in texts)
    return [head, *lines, *body]


def board_notes(board: Board) -> list[str]:
    """Return what the numbers are."""
    rows = board.rows
    notes = ["accuracies in per cent; ± is half of the 95 % t interval over seeds"]
    if board.protocol == "base_to_novel":
        notes.append("H is the harmonic mean of base and novel; of their averages in average rows")
    if rows["rank"].notna().any():
        notes.append(
            "rank: one more than the number of rows surely ahead (paired over seeds, Holm); rows of"
            " one rank cannot all be told apart"
        )
    if rows["items"].notna().any():
        notes.append("± images: half of the 95 % interval from the choice of test images alone")
    if board.protocol == MULTI_TASK:
        notes.append("mean is the mean over the data sets that one adapter was trained on at once")
    if board.protocol in SHIFTS:
        notes.append("targets is the mean over the data sets that were only tested")
    if (rows["missing"] > 0).any() or (rows["failed"] > 0).any():
        notes.append("an average needs every data set: seeds with a missing cell are not in it")
    source = rows["time/source_seconds_mean"].max()
    if source > 0:
        notes.append(
            f"the training of runs that others started from or are made of, up to {source:,.0f} s,"
            " is not in the times"
        )
    return notes


def leaderboard_records(board: Board) -> list[dict[str, Any]]:
    """Return the rows of the CSV as plain values; missing ones are None."""
    return plain_records(board.rows)


def plain_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a record per row as plain values for JSON; missing ones are None."""
    values = table.astype(object)
    records: list[dict[str, Any]] = values.where(values.notna(), None).to_dict("records")
    return records


def boards_csv(boards: Sequence[Board]) -> str:
    """Return all boards as one tidy table, numbers in full precision."""
    return pd.concat([b.rows for b in boards]).to_csv(index=False, lineterminator="\n")
