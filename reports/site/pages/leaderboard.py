"""Leaderboard pages: a row for each method or configuration, and each data set by itself."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import pandas as pd

from harness.spec.quantities import count_text
from reports.analyses import distributions
from reports.results.board import AVERAGE, Board, board_title
from reports.site import links
from reports.site.content import Site, ranked_rows, row_link, row_name
from reports.site.html_table import Cell, Column, Table, build_table, text
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
from reports.tables.paper_table import RankedCell, build_paper_table

PLACES = {1: "best", 2: "second", 0: ""}
Columns = dict[Column | str, Callable[[pd.Series], Cell | str]]
RowLink = Callable[[pd.Series], str]


def leaderboard_pages(site: Site) -> Iterator[File]:
    """Yield a leaderboard for each board, and one of all configurations where there are more."""
    for best, whole in zip(site.best, site.whole, strict=True):
        more = len(ranked_rows(whole)) > len(ranked_rows(best))
        folder = links.board_folder(best)
        yield _page(best, f"{folder}/index.html", f"{folder}/all.html" if more else "", False)
        if more:
            yield _page(whole, f"{folder}/all.html", f"{folder}/index.html", True)


def _page(board: Board, path: str, other: str, whole: bool) -> File:
    ranking = friedman.friedman_ranking(distributions.scores_by_dataset(board))
    return render_page(
        path,
        "board.html",
        board_title(board),
        [_ranked(board), _each(board)],
        folder=links.board_folder(board),
        other=other,
        whole=whole,
        notes=[*board.notes, *board_notes(board)],
        friedman="" if ranking is None else friedman.friedman_sentence(ranking),
        datasets=board.datasets,
    )


def _ranked(board: Board) -> Table:
    """Return the leaderboard: accuracies as papers print them, then what they cost."""
    printed, rows, at = build_paper_table(board), ranked_rows(board), partial(row_link, board)
    cells = dict(zip(rows["group"], printed.cells, strict=True))
    ranks = dict(zip(rows["group"], printed.ranks, strict=True))
    columns: Columns = {
        text("method"): lambda row: Cell(row_name(row), at(row)),
        "rank": lambda row: Cell(ranks[row["group"]], at(row)),
    }
    for i, head in enumerate(printed.heads):
        dataset = head.split()[0] if head.split()[0] in board.datasets else AVERAGE
        columns[Column(head)] = partial(
            lambda i, anchor, row: _ranked_cell(cells[row["group"]][i], f"{at(row)}#{anchor}"),
            i, links.slug(dataset),
        )  # fmt: skip
    others = (*reversed(NOISE), seeds_column(board), HEALTH[-1], *COSTS)
    shown = [c for c in others if not c.sparse or any(c.text(row) for row in rows_of(rows))]
    columns |= page_columns(shown, at)
    caption = f"{column_label(board.headline)} on each data set, averages, costs"
    caption += f"; {board_title(board)}"
    filters = ["|flagged" if flags else "" for flags in rows["flags"]]
    return build_table("board", caption, rows_of(rows), columns, filters=filters)


def _ranked_cell(cell: RankedCell, href: str) -> Cell:
    return Cell(cell.text, href, f"± {cell.half}" if cell.half else "", kind=PLACES[cell.place])


def _each(board: Board) -> Table:
    """Return every accuracy on every data set."""

    def at(row: pd.Series) -> str:
        return f"{row_link(board, row)}#{links.slug(row['dataset'])}"

    columns: Columns = {
        text("method"): lambda row: Cell(row_name(row), at(row)),
        text("data set"): lambda row: row["dataset"],
        "shots": lambda row: row["shots"] or "-",
        **accuracy_columns(board, at),
        **page_columns(NOISE, at),
        **page_columns((seeds_column(board), *HEALTH), lambda row: ""),
    }
    flags = zip(board.rows["dataset"], board.rows["flags"], strict=True)
    filters = [f"{dataset}{'|flagged' if flag else ''}" for dataset, flag in flags]
    caption = f"Every accuracy; {board_title(board)}"
    return build_table("each", caption, rows_of(board.rows), columns, filters=filters)


def rows_of(frame: pd.DataFrame) -> list[pd.Series]:
    return [row for _, row in frame.iterrows()]


def accuracy_columns(board: Board, at: RowLink) -> Columns:
    """Return a column for each accuracy of a board: mean and half of its interval."""
    return {
        column_label(m): partial(lambda m, row: mean_cell(row, m, at(row)), m)
        for m in board.metrics
    }


def mean_cell(row: pd.Series, metric: str, href: str) -> Cell:
    mean, half = mean_and_half(row, metric)
    return Cell(mean, href if mean != MISSING else "", f"± {half}" if half else "")


def page_columns(columns: Iterable[BoardColumn], at: RowLink) -> Columns:
    """Return columns of a board for a page; a number sorts by all of its digits."""
    return {
        Column(c.title, "text" if c.words else "number", c.about): partial(_cell, c, at)
        for c in columns
    }


def _cell(column: BoardColumn, at: RowLink, row: pd.Series) -> Cell:
    value = column.value(row)
    if column.words:
        return Cell(value, kind=column.title)
    if math.isnan(value):
        return Cell(MISSING)
    title = f"{value:,.0f}" if column.write is count_text else ""
    return Cell(column.write(value) or "0", at(row), value=float(value), title=title)
