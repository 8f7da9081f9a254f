"""Method pages: where a method comes from, what it computes, what it counts, how it did."""

import re
import sys
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import methods
from harness.cli import run_output
from methods.kit import Method
from methods.kit.core.errors import UsageError
from reports.results.board import board_title
from reports.site import content, links
from reports.site.content import Site
from reports.site.html_table import Cell, Column, Table
from reports.site.links import File
from reports.site.pages.leaderboard import cell_of, head_of, number, spread
from reports.site.render import render_page
from reports.tables.columns import COSTS, column_label

FIDELITY = {
    "code": "written from the authors' code",
    "paper": "written from the paper",
    "reading": "a reading of a paper that leaves parts open",
}
CLASSES = 100  # that counts assume
TOWERS = ("image", "text", "shared")
ARXIV = re.compile(r"arXiv:? ?(\d{4}\.\d{4,5})", re.IGNORECASE)


def method_pages(site: Site) -> Iterator[File]:
    """A page for each method that has runs."""
    for name in site.methods:
        here = name in methods.names()
        kind = methods.find(name) if here else None
        about = _about(kind) if kind else {}
        tables = [*_results(site, name), *(_counts(site, name) if kind else ())]
        settings = [_fields(kind)] if kind else []
        yield render_page(
            links.method(name),
            "method.html",
            name,
            [*tables, *settings],
            name=name,
            about=about,
            names=[t.name for t in tables],
        )


def _about(kind: type[Method]) -> dict[str, Any]:
    text = (sys.modules[kind.__module__].__doc__ or "").strip()
    first, _, rest = text.partition("\n\n")
    numbers = dict.fromkeys(ARXIV.findall(text))
    return {
        "title": kind.__name__,
        "first": " ".join(first.split()),
        "text": _text(rest),
        "paper": kind.paper,
        "fidelity": FIDELITY[kind.fidelity],
        "links": [(f"arXiv {n}", f"https://arxiv.org/abs/{n}") for n in numbers],
        "identity": "yes" if kind().identity else "no",
    }


def _text(text: str) -> list[tuple[bool, list[str]]]:
    """Paragraphs, (formula, pieces): every second piece was in double backticks."""
    found: list[tuple[bool, list[str]]] = []
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.strip()]
        for formula, part in groupby(lines, key=lambda line: line.startswith("    ")):
            mine = list(part)
            joined = "\n".join(line[4:] for line in mine) if formula else " ".join(mine)
            found.append((formula, joined.split("``")))
    return found


def _fields(kind: type[Method]) -> Table:
    defaults = vars(kind())
    rows = [[Cell(name), Cell(str(value), kind="long")] for name, value in defaults.items()]
    heads = [Column("setting", "text"), Column("default", "text")]
    return Table("settings", "Settings and their defaults", heads, rows, sorts=False)


def _counts(site: Site, name: str) -> list[Table]:
    """Parameters by tower of the defaults, on each backbone that has runs and is known here."""
    heads = [Column("backbone", "text"), Column("classes"), Column("trainable"), Column("stored")]
    heads += [Column("inference"), Column("head"), *(Column(t) for t in TOWERS)]
    rows = []
    for backbone in sorted({b.backbone for b in site.best}):
        try:
            found = run_output.count_parameters(name, [], backbone, CLASSES)
        except UsageError:  # needs settings, or a backbone that is not here
            continue
        counts = [found[k] for k in ("trainable", "stored", "inference", "head")]
        numbers = [*counts, *(found["by_tower"][t] for t in TOWERS)]
        rows.append(
            [Cell(backbone), Cell(str(CLASSES)), *(Cell(f"{n:,}", value=n) for n in numbers)]
        )
    caption = f"Parameters of the defaults, counted for {CLASSES} classes"
    return [Table("counts", caption, heads, rows, sorts=False)] if rows else []


def _results(site: Site, name: str) -> Iterator[Table]:
    for board in site.whole:
        rows = content.ranked_rows(board)
        mine = rows[rows["method"] == name]
        if mine.empty:
            continue
        metrics = board.metrics
        heads = [
            Column("settings", "text"),
            Column("rank"),
            *(Column(column_label(m)) for m in metrics),
        ]
        heads += [Column("over zero-shot"), *map(head_of, COSTS), Column("flags", "text")]
        cells = []
        for _, row in mine.iterrows():
            at = links.row(board, row["group"], row["method"])
            cells.append(
                [
                    Cell(row["settings"] or "as recorded", at),
                    number(row["rank"], 0, at),
                    *(spread(row, m, at) for m in metrics),
                    number(row["gain"], 2, at, sign=True),
                    *(cell_of(column, row, at) for column in COSTS),
                    Cell(row["flags"]),
                ]
            )
        yield Table(links.board_link(board).replace("/", "-"), board_title(board), heads, cells)
