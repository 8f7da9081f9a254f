"""Two versions of a file, cell by cell: which number is another one than it should be."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser

import pyarrow.parquet as pq

LONGEST = 80


@dataclass(frozen=True)
class Problem:
    """Something that does not match: where, what is there, and what should be."""

    file: str
    where: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.file}: {self.where}" if self.where else self.file
        if not self.expected:
            return f"{place}: {self.found}"
        return f"{place}: is {_cut(self.found)}, should be {_cut(self.expected)}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def compare_files(path: str, found: bytes, expected: bytes) -> Iterator[Problem]:
    """What differs between a file and what it should be. Raises ValueError for a broken file."""
    if path.endswith(".csv"):
        yield from _grids(path, "", _csv(found), _csv(expected))
    elif path.endswith(".html"):
        yield from _pages(path, found, expected)
    elif path.endswith(".jsonl"):
        yield from _records(path, found, expected)
    elif path.endswith(".parquet"):
        yield from _answers(path, found, expected)


# --- tables ---------------------------------------------------------------------------------------

Grid = list[list[str]]


def _csv(data: bytes) -> Grid:
    try:
        return list(csv.reader(io.StringIO(data.decode())))
    except csv.Error as error:
        raise ValueError(str(error)) from None


def _grids(path: str, table: str, found: Grid, expected: Grid) -> Iterator[Problem]:
    before = f"table {table}, " if table else ""
    if len(found) != len(expected):
        rows = f"{len(found) - 1} rows", f"{len(expected) - 1} rows"
        yield Problem(path, f"{before}length", *rows)
    heads = expected[0] if expected else []
    for i, (mine, theirs) in enumerate(zip(found, expected, strict=False)):
        for j in range(max(len(mine), len(theirs))):
            a, b = (line[j] if j < len(line) else "nothing" for line in (mine, theirs))
            if a != b:
                row = f"row {i} ({_named(theirs)})" if i else "heading"
                column = f"column {heads[j]}" if j < len(heads) else f"column {j + 1}"
                yield Problem(path, f"{before}{row}, {column}", a or "empty", b or "empty")


def _named(row: Sequence[str]) -> str:
    """The words of a row by which a person finds it."""
    words = [cell for cell in row if cell and not _numeric(cell)]
    return ", ".join((words or list(row))[:6])[:LONGEST]


def _numeric(text: str) -> bool:
    try:
        float(text.split()[0].replace(",", ""))
    except ValueError:
        return False
    return True


class _Tables(HTMLParser):
    """The tables of a page by their ids, as texts."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.found: dict[str, Grid] = {}
        self._rows: Grid | None = None
        self._cell: list[str] | None = None
        self.feed(data.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._rows = self.found.setdefault(dict(attrs).get("id") or "", [])
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._rows = None
        elif tag in ("td", "th") and self._rows and self._cell is not None:
            self._rows[-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)


def html_tables(page: bytes) -> dict[str, Grid]:
    """Every table of a page: headings, then rows, as read."""
    return _Tables(page).found


def _pages(path: str, found: bytes, expected: bytes) -> Iterator[Problem]:
    mine, theirs = html_tables(found), html_tables(expected)
    for name, grid in theirs.items():
        if name not in mine:
            yield Problem(path, f"table {name}", "missing", "")
        else:
            yield from _grids(path, name, mine[name], grid)
    for name in mine.keys() - theirs.keys():
        yield Problem(path, f"table {name}", "nothing recorded makes it", "")


# --- records --------------------------------------------------------------------------------------


def _records(path: str, found: bytes, expected: bytes) -> Iterator[Problem]:
    mine, theirs = (
        {r["id"]: r for r in map(json.loads, data.splitlines())} for data in (found, expected)
    )
    for run in mine.keys() ^ theirs.keys():
        yield Problem(path, f"run {run}", "missing" if run in theirs else "not expected", "")
    for run in mine.keys() & theirs.keys():
        yield from compare_values(path, f"run {run}", mine[run], theirs[run])


def compare_values(path: str, where: str, mine: object, theirs: object) -> Iterator[Problem]:
    """What differs between two records, field by field."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in sorted(mine.keys() | theirs.keys()):
            yield from compare_values(path, f"{where}, {key}", mine.get(key), theirs.get(key))
    elif json.dumps(mine) != json.dumps(theirs):
        yield Problem(path, where, json.dumps(mine), json.dumps(theirs))


def _answers(path: str, found: bytes, expected: bytes) -> Iterator[Problem]:
    mine, theirs = (pq.ParquetFile(io.BytesIO(data)) for data in (found, expected))
    if mine.num_row_groups != theirs.num_row_groups:
        counts = f"{mine.num_row_groups} runs", f"{theirs.num_row_groups} runs"
        yield Problem(path, "length", *counts)
        return
    for group in range(theirs.num_row_groups):
        a, b = (f.read_row_group(group) for f in (mine, theirs))
        if a.equals(b):
            continue
        for column in b.column_names:
            for row, (x, y) in enumerate(
                zip(a[column].to_pylist(), b[column].to_pylist(), strict=False)
            ):
                if x != y:
                    image = b["image"][row].as_py()
                    yield Problem(path, f"group {group}, image {image}, {column}", str(x), str(y))
