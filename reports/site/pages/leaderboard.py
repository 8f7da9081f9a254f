"""Leaderboard pages: one row a method or configuration, and each data set by itself."""

import math
from collections.abc import Iterator
from typing import Any

from harness.spec.quantities import count_text
from reports.analyses import distributions
from reports.results.board import AVERAGE, Board, board_title
from reports.site import content, links
from reports.site.content import Site
from reports.site.html_table import Cell, Column, Table
from reports.site.links import File
from reports.site.render import render_page
from reports.statistics import friedman
from reports.tables.columns import (
    COSTS,
    HEALTH,
    MISSING,
    NOISE,
    BoardColumn,
    column_label,
    mean_and_half,
    seeds_column,
)
from reports.tables.leaderboard import board_notes
from reports.tables.paper_table import build_paper_table

PLACES = {1: "best", 2: "second", 0: ""}


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
    table, rows = build_paper_table(board), content.ranked_rows(board)
    seen = [
        column
        for column in (*reversed(NOISE), seeds_column(board), *HEALTH[-1:], *COSTS)
        if not column.sparse or any(column.text(row) for _, row in rows.iterrows())
    ]
    heads = [Column("method", "text"), Column("rank"), *map(Column, table.heads)]
    cells = []
    for i, (_, row) in enumerate(rows.iterrows()):
        at = links.row(board, row["group"], row["method"])
        line = [Cell(content.row_name(row), at), Cell(table.ranks[i], at)]
        for c, head in zip(table.cells[i], table.heads, strict=True):
            anchor = links.slug(head.split()[0] if head.split()[0] in board.datasets else AVERAGE)
            small = f"± {c.half}" if c.half else ""
            line.append(Cell(c.text, f"{at}#{anchor}", small, kind=PLACES[c.place]))
        cells.append([*line, *(cell_of(column, row, at) for column in seen)])
    marks = ["|flagged" if row["flags"] else "" for _, row in rows.iterrows()]
    caption = f"{column_label(board.headline)} on each data set, averages, costs"
    return Table(
        "board", f"{caption}; {board_title(board)}", [*heads, *map(head_of, seen)], cells,
        marks=marks,
    )  # fmt: skip


def each(board: Board) -> Table:
    """Every accuracy on every data set."""
    seen = [*NOISE, seeds_column(board), *HEALTH]
    heads = [Column("method", "text"), Column("data set", "text"), Column("shots")]
    heads += [Column(column_label(m)) for m in board.metrics]
    cells, marks = [], []
    for _, row in board.rows.iterrows():
        at = f"{links.row(board, row['group'], row['method'])}#{links.slug(row['dataset'])}"
        line = [Cell(content.row_name(row), at), Cell(row["dataset"]), Cell(row["shots"] or "-")]
        line += [spread(row, m, at) for m in board.metrics]
        cells.append([*line, *(cell_of(c, row, at if c in NOISE else "") for c in seen)])
        marks.append(f"{row['dataset']}{'|flagged' if row['flags'] else ''}")
    heads += map(head_of, seen)
    return Table("each", f"Every accuracy; {board_title(board)}", heads, cells, marks=marks)


def head_of(column: BoardColumn) -> Column:
    """A column of a board on a page."""
    return Column(column.title, "text" if column.words else "number", column.about)


def cell_of(column: BoardColumn, row: Any, at: str) -> Cell:
    """A cell of a board on a page; a number sorts by all of its digits."""
    value = column.value(row)
    if column.words:
        return Cell(value, kind=column.title)
    if math.isnan(value):
        return Cell("-")
    title = f"{value:,.0f}" if column.write is count_text else ""
    return Cell(column.write(value) or "0", at, value=float(value), title=title)


def spread(row: Any, metric: str, at: str) -> Cell:
    """A mean and half of its interval."""
    text, half = mean_and_half(row, metric)
    return Cell(text, at if text != MISSING else "", f"± {half}" if half else "")


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
