"""What a run told wrong: confusion of classes, and classes that changed against zero-shot."""

from collections.abc import Sequence

import numpy as np

from reports.results.predictions import TestPart
from reports.site import links
from reports.site.html_table import Cell, Column, Table

MATRIX = 12  # classes beyond which a matrix is not read any more
PAIRS = 15  # confusions that are listed then
CLASSES = 12  # classes with the largest gains, and losses, where there are more than both
SHADES = 8  # classes h0 to h8 of the style sheet


def tables(parts: Sequence[TestPart]) -> list[Table]:
    """A matrix of a few classes, else the most frequent confusions."""
    return [_matrix(p) if len(p.names) <= MATRIX else _pairs(p) for p in parts]


def _matrix(part: TestPart) -> Table:
    """Rows are true classes."""
    counts = part.confusion
    whole = np.maximum(counts.sum(1, keepdims=True), 1)
    shades = np.ceil(SHADES * counts / whole).astype(int)
    heads = [Column("true class", "text"), *(Column(name) for name in part.names)]
    rows = [
        [
            Cell(name),
            *(
                Cell(str(n), kind=f"h{shades[i, j]}" + (" right" if i == j else ""))
                for j, n in enumerate(counts[i].tolist())
            ),
        ]
        for i, name in enumerate(part.names)
        if counts[i].sum()
    ]
    caption = (
        f"Confusion on {part.name}: how many images of a class (row) were called what (column)"
    )
    return Table(f"confusion-{links.slug(part.name)}", caption, heads, rows, sorts=False)


def _pairs(part: TestPart) -> Table:
    counts = part.confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:PAIRS]
    totals = part.confusion.sum(1)
    rows = []
    for i, j in zip(*np.unravel_index(order, counts.shape), strict=True):
        if counts[i, j]:
            names = [Cell(part.names[i]), Cell(part.names[j])]
            rows.append([*names, Cell(str(counts[i, j])), Cell(str(totals[i]))])
    heads = [Column("true class", "text"), Column("called", "text"), Column("images"), Column("of")]
    caption = f"Most frequent confusions on {part.name} ({len(part.names)} classes)"
    return Table(f"confusion-{links.slug(part.name)}", caption, heads, rows)


def changes(parts: Sequence[TestPart], zero: Sequence[TestPart], href: str) -> list[Table]:
    """Accuracy of each class against zero-shot's on the same images."""
    theirs = {p.name: p.by_class for p in zero}
    return [_changes(p, theirs[p.name], href) for p in parts if p.name in theirs]


def _changes(part: TestPart, zero: dict[str, float], href: str) -> Table:
    found = [(v - zero[n], n, v) for n, v in part.by_class.items() if n in zero]
    found.sort(key=lambda f: (-f[0], f[1]))
    caption = f"Accuracy by class on {part.name}, and its change against zero-shot in points"
    if len(found) > 2 * CLASSES:
        caption += (
            f": the {CLASSES} that gained most and the {CLASSES} that lost most of {len(found)}"
        )
        found = [*found[:CLASSES], *found[-CLASSES:]]
    rows = [
        [
            Cell(name),
            Cell(f"{value:.1f}", value=value),
            Cell(f"{zero[name]:.1f}", href, value=zero[name]),
            Cell(f"{change:+.1f}", value=change, kind=_sign(change)),
        ]
        for change, name, value in found
    ]
    heads = [
        Column("class", "text"),
        Column("accuracy, %"),
        Column("zero-shot, %"),
        Column("change"),
    ]
    return Table(f"changes-{links.slug(part.name)}", caption, heads, rows)


def _sign(change: float) -> str:
    return "up" if change > 0 else "down" if change < 0 else ""
