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
from reports.site.html_table import Cell, Head, Table
from reports.site.links import File
from reports.site.page import page
from reports.statistics import friedman
from reports.tables.leaderboard import LABELS, board_notes, mean_text
from reports.tables.paper_table import build_paper_table

PLACES = {1: "best", 2: "second", 0: ""}
COST_HEADS = (
    Head("trainable", about="parameters that the optimiser sees"),
    Head("inference", about="parameters left to compute with after folding"),
    Head("stored", about="parameters in the saved adapter"),
    Head("head", about="parameters that depend on the classes"),
    Head("bytes", about="size of the saved adapter"),
    Head("train s"),
    Head("ms/step"),
    Head("peak MB"),
)


def leaderboard_pages(site: Site) -> Iterator[File]:
    """A leaderboard for each board, and one of all configurations where there are more."""
    for best, whole in zip(site.best, site.whole, strict=True):
        more = len(content.main(whole)) > len(content.main(best))
        folder = links.board_link(best)
        yield _page(best, f"{folder}/index.html", f"{folder}/all.html" if more else "", False)
        if more:
            yield _page(whole, f"{folder}/all.html", f"{folder}/index.html", True)


def _page(board: Board, path: str, other: str, whole: bool) -> File:
    ranking = friedman.friedman_ranking(distributions.scores_by_dataset(board))
    return page(
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
    found, rows = build_paper_table(board), content.main(board)
    gains, items = rows["gain"].notna().any(), rows["items"].notna().any()
    heads = [Head("method", "text"), Head("rank"), *(Head(h) for h in found.heads)]
    heads += (
        [Head("over zero-shot", about="points over zero-shot on the same data")] if gains else []
    )
    heads += [Head("± images", about="noise of the test images alone")] if items else []
    flags = any(rows["flags"])
    heads += [Head("seeds"), *([Head("flags", "text")] if flags else []), *COST_HEADS]
    cells = []
    for i, (_, row) in enumerate(rows.iterrows()):
        at = links.row(board, row["group"], row["method"])
        line = [Cell(content.name(row), at), Cell(found.ranks[i], at)]
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
    heads = [Head("method", "text"), Head("data set", "text"), Head("shots")]
    heads += [*(Head(LABELS[m]) for m in metrics), Head("± images"), Head("over zero-shot")]
    heads += [Head("seeds"), Head("failed"), Head("missing"), Head("flags", "text")]
    cells, marks = [], []
    for _, row in board.rows.iterrows():
        at = f"{links.row(board, row['group'], row['method'])}#{links.slug(row['dataset'])}"
        accuracies = [spread(row, m, at) for m in metrics]
        cells.append(
            [
                Cell(content.name(row), at),
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
