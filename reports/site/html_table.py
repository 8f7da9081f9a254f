"""Tables as a page shows them, and as texts that can be compared and hashed."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape

from markupsafe import Markup

from reports.site import links


@dataclass(frozen=True)
class Cell:
    """What stands in a cell. ``href`` is a path from the site's root, ``value`` what sorts it
    where its text does not, ``kind`` a class of the style sheet, ``small`` goes behind."""

    text: str
    href: str = ""
    small: str = ""
    value: float | None = None
    kind: str = ""
    title: str = ""

    @property
    def whole(self) -> str:
        """All that is read in the cell, one space between words."""
        both = f"{self.text} {self.small}" if self.small else self.text
        return " ".join(both.split())


@dataclass(frozen=True)
class Column:
    """A column. ``kind`` is text or number; ``about`` says what it is to those who ask."""

    text: str
    kind: str = "number"
    about: str = ""


@dataclass(frozen=True)
class Table:
    """``name`` is its anchor on the page. The first column names the row."""

    name: str
    caption: str
    heads: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    sorts: bool = True
    marks: Sequence[str] = field(default=())  # for each row what filters look at

    def texts(self) -> list[list[str]]:
        """Headings, then rows, as read."""
        heads = [" ".join(h.text.split()) for h in self.heads]
        return [heads, *([c.whole for c in row] for row in self.rows)]

    def digest(self) -> str:
        """SHA-256 of its texts."""
        return digest(self.texts())

    def html(self, page: str) -> Markup:
        """``page`` is the path of the page that it stands on, from which links go."""
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
        """The classes of all cells but the first ones, where all have the same: said once."""
        others = ((c, h) for row in self.rows for c, h in zip(row[1:], self.heads[1:], strict=True))
        found = ""
        for i, (cell, head) in enumerate(others):
            kinds = _kinds(cell, head)
            if not kinds or (i and kinds != found):
                return ""
            found = kinds
        return found

    def _row(self, i: int, row: Sequence[Cell], page: str, shared: str, sorts: bool) -> str:
        mark = f' data-filter="{escape(self.marks[i])}"' if self.marks else ""
        first, *others = row
        cells = [_first(first, page, sorts)]
        for c, h in zip(others, self.heads[1:], strict=True):
            kinds = _kinds(c, h) if not shared else ""
            cells.append(f"<td{_attributes(c, kinds, sorts)}>{_text(c, page)}</td>")
        return f"<tr{mark}>{''.join(cells)}</tr>"


def digest(texts: Sequence[Sequence[str]]) -> str:
    """SHA-256 of a table's texts."""
    return hashlib.sha256(json.dumps(texts, ensure_ascii=False).encode()).hexdigest()


def _head(head: Column) -> str:
    about = f' title="{escape(head.about)}"' if head.about else ""
    kind = "" if head.kind == "number" else f' class="{head.kind}"'
    return f'<th scope="col"{kind}{about}>{escape(head.text)}</th>'


def _first(cell: Cell, page: str, sorts: bool) -> str:
    """It names the row; the style sheet knows that it is text."""
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
    """Whether the script reads the value off the text."""
    try:
        return not cell.small and float(cell.text.replace(",", "")) == cell.value
    except ValueError:
        return False
