"""Leaderboard pages: one row a method or configuration, and each data set by itself."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from harness.spec.quantities import count_text
from reports.analyses import distributions
from reports.results.board import ACCURACY, AVERAGE, Board, board_title
from reports.site import content, links
from reports.site.content import Site
from reports.site.html_table import Cell, Column, Table
from reports.site.links import File
from reports.site.render import render_page
from reports.statistics import friedman
from reports.tables.leaderboard import LABELS, board_notes, mean_text
from reports.tables.paper_table import build_paper_table

PLACES = {1: "best", 2: "second", 0: ""}
COST_HEADS = (
    Column("trainable", about="parameters that the optimiser sees"),
    Column("inference", about="parameters left to compute with after folding"),
    Column("stored", about="parameters in the saved adapter"),
    Column("head", about="parameters that depend on the classes"),
    Column("bytes", about="size of the saved adapter"),
    Column("train s"),
    Column("ms/step"),
    Column("peak MB"),
)


def leaderboard_pages(site: Site) -> Iterator[File]:
    """A leaderboard for each board, and one of all configurations where there are more."""
    for best, whole in zip(site.best, site.whole, strict=True):
        more = len(content.ranked_rows(whole)) > len(content.ranked_rows(best))
        folder = links.board_link(best)
        yield _page(best, f"{folder}/index.html", f"{folder}/all.html" if more else "", False)
        if more:
            yield _page(whole, f"{folder}/all.html", f"{folder}/index.html", True)


def _page(board: Board, path: str, other: str, whole: bool) -> File:
    ranking = friedman.friedman_ranking(distributions.scores_by_dataset(board))
    return render_page(
        path,
        "board.html",
        board_title(board),
        [ranked(board), each(board)],
        board=board,
        folder=links.board_link(board),
        other=other,
        whole=whole,
        notes=[*board.notes, *board_notes(board)],
        friedman="" if ranking is None else friedman.friedman_sentence(ranking),
        datasets=board.datasets,
    )


def ranked(board: Board) -> Table:
    """The leaderboard: accuracies as papers print them, then what they cost."""
    found, rows = build_paper_table(board), content.ranked_rows(board)
    gains, items = rows["gain"].notna().any(), rows["items"].notna().any()
    heads = [Column("method", "text"), Column("rank"), *(Column(h) for h in found.heads)]
    heads += (
        [Column("over zero-shot", about="points over zero-shot on the same data")] if gains else []
    )
    heads += [Column("± images", about="noise of the test images alone")] if items else []
    flags = any(rows["flags"])
    heads += [Column("seeds"), *([Column("flags", "text")] if flags else []), *COST_HEADS]
    cells = []
    for i, (_, row) in enumerate(rows.iterrows()):
        at = links.row(board, row["group"], row["method"])
        line = [Cell(content.row_name(row), at), Cell(found.ranks[i], at)]
        for c, head in zip(found.cells[i], found.heads, strict=True):
            anchor = links.slug(head.split()[0] if head.split()[0] in board.datasets else AVERAGE)
            small = f"± {c.half}" if c.half else ""
            line.append(Cell(c.text, f"{at}#{anchor}", small, kind=PLACES[c.place]))
        line += [number(row["gain"], 2, at, sign=True)] if gains else []
        line += [number(row["items"], 2, at)] if items else []
        line += [Cell(str(row[f"{board.headline}_n"]), at)]
        line += [Cell(row["flags"], kind="flags")] if flags else []
        line += costs(row, at)
        cells.append(line)
    marks = ["|flagged" if row["flags"] else "" for _, row in rows.iterrows()]
    caption = f"{LABELS[board.headline]} on each data set, averages, costs; {board_title(board)}"
    return Table("board", caption, heads, cells, marks=marks)


def each(board: Board) -> Table:
    """Every accuracy on every data set."""
    metrics = ACCURACY[board.protocol]
    heads = [Column("method", "text"), Column("data set", "text"), Column("shots")]
    heads += [*(Column(LABELS[m]) for m in metrics), Column("± images"), Column("over zero-shot")]
    heads += [Column("seeds"), Column("failed"), Column("missing"), Column("flags", "text")]
    cells, marks = [], []
    for _, row in board.rows.iterrows():
        at = f"{links.row(board, row['group'], row['method'])}#{links.slug(row['dataset'])}"
        accuracies = [spread(row, m, at) for m in metrics]
        cells.append(
            [
                Cell(content.row_name(row), at),
                Cell(row["dataset"]),
                Cell(row["shots"] or "-"),
                *accuracies,
                number(row["items"], 2, at),
                number(row["gain"], 2, at, sign=True),
                Cell(str(row[f"{board.headline}_n"])),
                Cell(str(row["failed"])),
                Cell(str(row["missing"])),
                Cell(row["flags"], kind="flags"),
            ]
        )
        marks.append(f"{row['dataset']}{'|flagged' if row['flags'] else ''}")
    return Table("each", f"Every accuracy; {board_title(board)}", heads, cells, marks=marks)


def spread(row: Any, metric: str, at: str) -> Cell:
    """A mean and half of its interval."""
    text, _, half = mean_text(row, metric).partition(" ± ")
    return Cell(text, at if text != "-" else "", f"± {half}" if half else "")


def costs(row: pd.Series, at: str) -> list[Cell]:
    """Cells under COST_HEADS."""
    counts = [
        count(row[f"{m}_mean"], at)
        for m in (
            "params/trainable",
            "params/inference",
            "params/stored",
            "params/head",
            "bytes/adapter",
        )
    ]
    return [
        *counts,
        number(row["time/train_seconds_mean"], 1, at),
        number(row["time/step_ms_mean"], 1, at),
        number(row["memory/peak_bytes_mean"] / 2**20, 0, at),
    ]


def number(value: float, digits: int, href: str = "", sign: bool = False) -> Cell:
    """A number to so many digits that sorts by all of them."""
    if value is None or math.isnan(value):
        return Cell("-")
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return Cell(text, href, value=float(value))


def count(value: float, href: str = "") -> Cell:
    """12,345 as 12.3k, with all digits to those who point at it."""
    if math.isnan(value):
        return Cell("-")
    return Cell(count_text(value), href, value=float(value), title=f"{value:,.0f}")
