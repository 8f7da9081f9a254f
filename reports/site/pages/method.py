"""Method pages: where a method comes from, what it computes and counts, and its results."""

import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from typing import Any

import methods
from harness.cli import run_output
from methods.kit import Method
from methods.kit.core.errors import UsageError
from reports.results.board import Board, board_title
from reports.site import links
from reports.site.content import Site, ranked_rows, row_link
from reports.site.html_table import Cell, Column, Table, build_table, number, pairs_table, text
from reports.site.links import File
from reports.site.pages.leaderboard import Columns, accuracy_columns, page_columns, rows_of
from reports.site.render import render_page
from reports.tables.columns import COSTS

FIDELITY = {
    "code": "written from the authors' code",
    "paper": "written from the paper",
    "reading": "an interpretation of a paper that leaves parts open",
}
CLASSES = 100  # number of classes that parameter counts assume
COUNTS = ("trainable", "stored", "inference", "head")
TOWERS = ("image", "text", "shared")
ARXIV = re.compile(r"arXiv:? ?(\d{4}\.\d{4,5})", re.IGNORECASE)


def method_pages(site: Site) -> Iterator[File]:
    """Yield a page for each method that has runs."""
    for name in site.methods:
        kind = methods.find(name) if name in methods.names() else None
        tables = [*_results(site, name), *(_counts(site, name) if kind else ())]
        yield render_page(
            links.method(name),
            "method.html",
            name,
            [*tables, *([_settings(kind)] if kind else ())],
            name=name,
            about=_about(kind) if kind else {},
            names=[t.name for t in tables],
        )


def _about(kind: type[Method]) -> dict[str, Any]:
    docstring = (sys.modules[kind.__module__].__doc__ or "").strip()
    first, _, rest = docstring.partition("\n\n")
    papers = dict.fromkeys(ARXIV.findall(docstring))
    return {
        "title": kind.__name__,
        "first": " ".join(first.split()),
        "text": _paragraphs(rest),
        "paper": kind.paper,
        "fidelity": FIDELITY[kind.fidelity],
        "links": [(f"arXiv {n}", f"https://arxiv.org/abs/{n}") for n in papers],
        "identity": "yes" if kind().identity else "no",
    }


def _paragraphs(docstring: str) -> list[tuple[bool, list[str]]]:
    """Return (is a formula, pieces) for each paragraph; odd pieces were in double backticks."""
    found: list[tuple[bool, list[str]]] = []
    for block in docstring.split("\n\n"):
        lines = [line for line in block.splitlines() if line.strip()]
        for formula, grouped in groupby(lines, key=lambda line: line.startswith("    ")):
            part = list(grouped)
            joined = "\n".join(line[4:] for line in part) if formula else " ".join(part)
            found.append((formula, joined.split("``")))
    return found


def _settings(kind: type[Method]) -> Table:
    defaults = ((name, str(value)) for name, value in vars(kind()).items())
    caption = "Settings and their defaults"
    return pairs_table("settings", caption, ("setting", "default"), defaults)


def _counts(site: Site, name: str) -> list[Table]:
    """Return parameters of the defaults on each backbone that has runs and is available here."""
    counts: dict[str, dict[str, int]] = {}
    for backbone in sorted({b.backbone for b in site.best}):
        try:
            found = run_output.count_parameters(name, [], backbone, CLASSES)
        except UsageError:  # a method that needs settings, or a backbone that is not here
            continue
        counts[backbone] = {k: found[k] for k in COUNTS} | found["by_tower"]

    def counted(key: str) -> Callable[[str], Cell]:
        return lambda backbone: Cell(f"{counts[backbone][key]:,}", value=counts[backbone][key])

    columns: dict[Column | str, Callable[[str], Cell | str]] = {
        text("backbone"): lambda backbone: backbone,
        "classes": lambda backbone: str(CLASSES),
        **{key: counted(key) for key in (*COUNTS, *TOWERS)},
    }
    caption = f"Parameters of the defaults, counted for {CLASSES} classes"
    return [build_table("counts", caption, counts, columns, sorts=False)] if counts else []


def _results(site: Site, name: str) -> Iterator[Table]:
    for board in site.whole:
        rows = [row for row in rows_of(ranked_rows(board)) if row["method"] == name]
        if rows:
            caption, anchor = board_title(board), links.board_folder(board).replace("/", "-")
            yield build_table(anchor, caption, rows, _result_columns(board))


def _result_columns(board: Board) -> Columns:
    at = partial(row_link, board)
    return {
        text("settings"): lambda row: Cell(row["settings"] or "as recorded", at(row)),
        "rank": lambda row: number(row["rank"], 0, at(row)),
        **accuracy_columns(board, at),
        "over zero-shot": lambda row: number(row["gain"], 2, at(row), sign=True),
        **page_columns(COSTS, at),
        text("flags"): lambda row: row["flags"],
    }
