"""Tables as pages show them, and as texts that can be compared and hashed."""

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any, TypeVar

import pandas as pd
from markupsafe import Markup

from harness.spec.quantities import count_text
from reports.site import links

R = TypeVar("R")
Link = Callable[[Mapping[str, Any], str], str]


@dataclass(frozen=True)
class Cell:
    """Content of a cell.

    ``href`` is a path from the site's root, ``value`` sorts the cell where its text does not,
    ``kind`` is a class of the style sheet, ``small`` is printed after the text.
    """

    text: str
    href: str = ""
    small: str = ""
    value: float | None = None
    kind: str = ""
    title: str = ""

    @property
    def whole(self) -> str:
        """Everything that is read in the cell, one space between words."""
        both = f"{self.text} {self.small}" if self.small else self.text
        return " ".join(both.split())


@dataclass(frozen=True)
class Column:
    """A column. ``kind`` is text or number; ``about`` is shown when it is pointed at."""

    text: str
    kind: str = "number"
    about: str = ""


@dataclass(frozen=True)
class Table:
    """A table. ``name`` is its anchor on the page; the first column names the row."""

    name: str
    caption: str
    heads: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    sorts: bool = True
    filters: Sequence[str] = ()  # for each row the words that the page's filter matches

    def texts(self) -> list[list[str]]:
        """Return headings, then rows, as read."""
        heads = [" ".join(h.text.split()) for h in self.heads]
        return [heads, *([c.whole for c in row] for row in self.rows)]

    def digest(self) -> str:
        """Return the SHA-256 of its texts."""
        return hashlib.sha256(json.dumps(self.texts(), ensure_ascii=False).encode()).hexdigest()

    def html(self, page: str) -> Markup:
        """Return the table for a page at the path ``page``."""
        name = escape(self.name)
        sorts = self.sorts and len(self.rows) > 1
        shared = self._shared()
        kinds = ["sorts"] * sorts + [f"all-{kind}" for kind in shared.split()]
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        heads = "".join(_head(h) for h in self.heads)
        body = "\n".join(self._row(i, row, page, shared, sorts) for i, row in enumerate(self.rows))
        return Markup(
            f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{name}-caption">'
            f'<table id="{name}"{kind}><caption id="{name}-caption">'
            f"<span>{escape(self.caption)}</span></caption>"
            f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
        )

    def _shared(self) -> str:
        """Return the classes that all cells except the first of each row share, if they do."""
        others = ((c, h) for row in self.rows for c, h in zip(row[1:], self.heads[1:], strict=True))
        found = ""
        for i, (cell, head) in enumerate(others):
            kinds = _kinds(cell, head)
            if not kinds or (i and kinds != found):
                return ""
            found = kinds
        return found

    def _row(self, i: int, row: Sequence[Cell], page: str, shared: str, sorts: bool) -> str:
        words = f' data-filter="{escape(self.filters[i])}"' if self.filters else ""
        first, *others = row
        cells = [_first(first, page, sorts)]
        for c, h in zip(others, self.heads[1:], strict=True):
            kinds = _kinds(c, h) if not shared else ""
            cells.append(f"<td{_attributes(c, kinds, sorts)}>{_text(c, page)}</td>")
        return f"<tr{words}>{''.join(cells)}</tr>"


def text(title: str, about: str = "") -> Column:
    return Column(title, "text", about)


def build_table(
    name: str,
    caption: str,
    rows: Iterable[R],
    columns: Mapping[Column | str, Callable[[R], Cell | str]],
    sorts: bool = True,
    filters: Sequence[str] = (),
) -> Table:
    """Return a table from its columns: for each a function from a row to a cell or its text."""
    heads = [Column(c) if isinstance(c, str) else c for c in columns]
    found = ([make(row) for make in columns.values()] for row in rows)
    cells = [[Cell(c) if isinstance(c, str) else c for c in row] for row in found]
    return Table(name, caption, heads, cells, sorts, filters)


def pairs_table(name: str, caption: str, heads: tuple[str, str], pairs: Iterable[tuple[str, str]],
                kind: str = "long") -> Table:  # fmt: skip
    """Return a table of names and values, all of them text."""
    rows = [[Cell(key), Cell(value, kind=kind)] for key, value in pairs]
    return Table(name, caption, [text(head) for head in heads], rows, sorts=False)


def frame_table(
    name: str,
    caption: str,
    frame: pd.DataFrame,
    link: Link = lambda row, column: "",
    words: Collection[str] | None = None,
) -> Table:
    """Return a data frame as a table, floats to three decimals.

    ``link`` returns where a column of a row leads; ``words`` are the columns of text, by default
    those that are not numeric.
    """
    if words is None:
        words = [c for c in frame if not pd.api.types.is_numeric_dtype(frame[c])]
    heads = [Column(str(c), "text" if c in words else "number") for c in frame]
    names = [str(c) for c in frame]
    rows = [dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False)]
    cells = [[_value(value, link(row, c)) for c, value in row.items()] for row in rows]
    return Table(name, caption, heads, cells)


def _value(value: object, href: str) -> Cell:
    return number(value, 3, href) if isinstance(value, float) else Cell(str(value), href)


def number(value: float, digits: int, href: str = "", sign: bool = False) -> Cell:
    """Return a number with so many digits, sorted by all of them; a dash for none."""
    if value is None or math.isnan(value):
        return Cell("-")
    return Cell(f"{value:{'+' if sign else ''}.{digits}f}", href, value=float(value))


def percent(share: float, digits: int = 0, href: str = "") -> Cell:
    return Cell("-") if math.isnan(share) else Cell(f"{share:.{digits}%}", href, value=share)


def count(value: float, href: str = "") -> Cell:
    """Return 12,345 as 12.3k, with all digits shown when it is pointed at."""
    if math.isnan(value):
        return Cell("-")
    return Cell(count_text(value), href, value=float(value), title=f"{value:,.0f}")


# --- HTML -----------------------------------------------------------------------------------------


def _head(head: Column) -> str:
    about = f' title="{escape(head.about)}"' if head.about else ""
    kind = "" if head.kind == "number" else f' class="{head.kind}"'
    return f'<th scope="col"{kind}{about}>{escape(head.text)}</th>'


def _first(cell: Cell, page: str, sorts: bool) -> str:
    return f'<th scope="row"{_attributes(cell, cell.kind, sorts)}>{_text(cell, page)}</th>'


def _text(cell: Cell, page: str) -> str:
    text = cell.text if cell.text.isalnum() else _escaped(cell.text)
    if cell.href:
        text = f'<a href="{escape(links.relative_link(page, cell.href))}">{text}</a>'
    return f"{text} <small>{escape(cell.small)}</small>" if cell.small else text


_escaped = lru_cache(maxsize=2**14)(escape)  # most texts stand on many pages


def _kinds(cell: Cell, head: Column) -> str:
    if head.kind == "number":
        return cell.kind
    return f"{head.kind} {cell.kind}" if cell.kind else head.kind


def _attributes(cell: Cell, kinds: str, sorts: bool) -> str:
    found = f' class="{kinds}"' if kinds else ""
    if sorts and cell.value is not None and not _reads(cell):
        found += f' data-value="{cell.value:.9g}"'
    return found + (f' title="{escape(cell.title)}"' if cell.title else "")


def _reads(cell: Cell) -> bool:
    """Return whether the script can read the value from the text."""
    try:
        return not cell.small and float(cell.text.replace(",", "")) == cell.value
    except ValueError:
        return False
