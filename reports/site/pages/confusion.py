"""Wrong answers of a run: confusion of classes, and classes that changed against zero-shot."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from reports.results.predictions import TestPart
from reports.site import links
from reports.site.html_table import Cell, Column, Table, build_table, number, text

LARGEST_MATRIX = 12  # classes; of more the most frequent confusions are listed
PAIRS = 15  # confusions that are listed
CHANGES = 12  # classes with the largest gains, and losses, that are shown
SHADES = 8  # classes h0 to h8 of the style sheet


def confusion_tables(parts: Sequence[TestPart]) -> list[Table]:
    """Return a matrix for few classes, else the most frequent confusions."""
    return [_matrix(p) if len(p.names) <= LARGEST_MATRIX else _pairs(p) for p in parts]


def _matrix(part: TestPart) -> Table:
    counts = part.confusion
    shades = np.ceil(SHADES * counts / np.maximum(counts.sum(1, keepdims=True), 1)).astype(int)

    def cell(j: int, i: int) -> Cell:
        kind = f"h{shades[i, j]}" + (" right" if i == j else "")
        return Cell(str(counts[i, j]), kind=kind)

    columns: dict[Column | str, Callable[[int], Cell | str]] = {
        text("true class"): lambda i: part.names[i],
        **{Column(name): partial(cell, j) for j, name in enumerate(part.names)},
    }
    rows = [i for i in range(len(part.names)) if counts[i].sum()]
    about = "how many images of a class (row) were called what (column)"
    caption = f"Confusion on {part.name}: {about}"
    return build_table(_name("confusion", part), caption, rows, columns, sorts=False)


def _pairs(part: TestPart) -> Table:
    counts = part.confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:PAIRS]
    pairs = zip(*np.unravel_index(order, counts.shape), strict=True)
    columns: dict[Column | str, Callable[[tuple[int, int]], Cell | str]] = {
        text("true class"): lambda p: part.names[p[0]],
        text("called"): lambda p: part.names[p[1]],
        "images": lambda p: str(counts[p]),
        "of": lambda p: str(part.confusion[p[0]].sum()),
    }
    caption = f"Most frequent confusions on {part.name} ({len(part.names)} classes)"
    return build_table(_name("confusion", part), caption, [p for p in pairs if counts[p]], columns)


def change_tables(parts: Sequence[TestPart], zero: Sequence[TestPart], href: str) -> list[Table]:
    """Return the accuracy of each class against that of zero-shot on the same images."""
    reference = {p.name: p.by_class for p in zero}
    return [_changes(p, reference[p.name], href) for p in parts if p.name in reference]


def _changes(part: TestPart, zero: dict[str, float], href: str) -> Table:
    found = [(v - zero[n], n, v) for n, v in part.by_class.items() if n in zero]
    found.sort(key=lambda f: (-f[0], f[1]))
    caption = f"Accuracy by class on {part.name}, and its change against zero-shot in points"
    if len(found) > 2 * CHANGES:
        caption += f": the {CHANGES} largest gains and the {CHANGES} largest losses of {len(found)}"
        found = [*found[:CHANGES], *found[-CHANGES:]]
    columns: dict[Column | str, Callable[[tuple[float, str, float]], Cell | str]] = {
        text("class"): lambda f: f[1],
        "accuracy, %": lambda f: number(f[2], 1),
        "zero-shot, %": lambda f: number(zero[f[1]], 1, href),
        "change": lambda f: Cell(f"{f[0]:+.1f}", value=f[0], kind=_sign(f[0])),
    }
    return build_table(_name("changes", part), caption, found, columns)


def _name(kind: str, part: TestPart) -> str:
    return f"{kind}-{links.slug(part.name)}"


def _sign(change: float) -> str:
    return "up" if change > 0 else "down" if change < 0 else ""
