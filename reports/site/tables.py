"""Tables as a page shows them, and as texts that can be compared and hashed."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from markupsafe import Markup


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
        return " ".join(f"{self.text} {self.small}".split())


@dataclass(frozen=True)
class Head:
    """A column. ``kind`` is text or number; ``about`` says what it is to those who ask."""

    text: str
    kind: str = "number"
    about: str = ""


@dataclass(frozen=True)
class Table:
    """``name`` is its anchor on the page. The first column names the row."""

    name: str
    caption: str
    heads: Sequence[Head]
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

    def html(self, root: str) -> Markup:
        """``root`` is the way from the page to the site's root, such as ``../``."""
        name = escape(self.name)
        kind = ' class="sorts"' if self.sorts and len(self.rows) > 1 else ""
        heads = "".join(_head(h) for h in self.heads)
        body = "\n".join(self._row(i, row, root) for i, row in enumerate(self.rows))
        return Markup(
            f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{name}-caption">'
            f'<table id="{name}"{kind}><caption id="{name}-caption">'
            f"<span>{escape(self.caption)}</span></caption>"
            f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
        )

    def _row(self, i: int, row: Sequence[Cell], root: str) -> str:
        mark = f' data-filter="{escape(self.marks[i])}"' if self.marks else ""
        cells = [
            _cell(c, h, root, j == 0) for j, (c, h) in enumerate(zip(row, self.heads, strict=True))
        ]
        return f"<tr{mark}>{''.join(cells)}</tr>"


def digest(texts: Sequence[Sequence[str]]) -> str:
    """SHA-256 of a table's texts."""
    return hashlib.sha256(json.dumps(texts, ensure_ascii=False).encode()).hexdigest()


def _head(head: Head) -> str:
    about = f' title="{escape(head.about)}"' if head.about else ""
    kind = "" if head.kind == "number" else f' class="{head.kind}"'
    return f'<th scope="col"{kind}{about}>{escape(head.text)}</th>'


def _cell(cell: Cell, head: Head, root: str, first: bool) -> str:
    text = cell.text if cell.text.isalnum() else escape(cell.text)
    if cell.href:
        text = f'<a href="{root}{escape(cell.href)}">{text}</a>'
    if cell.small:
        text += f" <small>{escape(cell.small)}</small>"
    kinds = " ".join(k for k in ("" if head.kind == "number" else head.kind, cell.kind) if k)
    attributes = f' class="{kinds}"' if kinds else ""
    if cell.value is not None:
        attributes += f' data-value="{cell.value!r}"'
    if cell.title:
        attributes += f' title="{escape(cell.title)}"'
    return f'<th scope="row"{attributes}>{text}</th>' if first else f"<td{attributes}>{text}</td>"
