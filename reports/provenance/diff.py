"""Differences between two versions of a file, named by table, row and column or by field."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from xml.etree import ElementTree

import pyarrow.parquet as pq

LONGEST = 80
Grid = list[list[str]]  # a heading, then rows


@dataclass(frozen=True)
class Problem:
    """One mismatch: where it is, what was found, and what was expected."""

    file: str
    where: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.file}: {self.where}" if self.where else self.file
        if not self.expected:
            return f"{place}: {self.found}"
        return f"{place}: is {_shortened(self.found)}, should be {_shortened(self.expected)}"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def compare_files(path: str, found: bytes, expected: bytes) -> list[Problem]:
    """Return each differing cell of CSV, HTML and Parquet files and each field of JSON lines."""
    try:
        if path.endswith(".jsonl"):
            return list(_compare_records(path, found, expected))
        if path.endswith(".csv"):
            return list(_compare_tables(path, {"": _csv_grid(found)}, {"": _csv_grid(expected)}))
        if path.endswith(".html"):
            return list(_compare_tables(path, html_tables(found), html_tables(expected)))
        if path.endswith(".parquet"):
            return list(_compare_tables(path, _row_groups(found), _row_groups(expected)))
    except (ValueError, KeyError, TypeError, csv.Error, ElementTree.ParseError) as error:
        return [Problem(path, "", f"cannot be read ({error})", "")]
    return []


def first_different_line(path: str, found: bytes, expected: bytes) -> list[Problem]:
    """Return the first line that differs between two text files; nothing for other files."""
    try:
        pairs = zip_longest(found.decode().splitlines(), expected.decode().splitlines())
    except UnicodeDecodeError:
        return []
    for number, (line, other) in enumerate(pairs, 1):
        if line != other:
            texts = ("nothing" if t is None else t.strip() or "empty" for t in (line, other))
            return [Problem(path, f"line {number}", *texts)]
    return []


# --- tables ---------------------------------------------------------------------------------------


def _csv_grid(data: bytes) -> Grid:
    return list(csv.reader(io.StringIO(data.decode())))


def _row_groups(data: bytes) -> dict[str, Grid]:
    file = pq.ParquetFile(io.BytesIO(data))
    groups = (file.read_row_group(i) for i in range(file.num_row_groups))
    columns = [(g.column_names, [c.to_pylist() for c in g.columns]) for g in groups]
    return {
        f"of row group {i}": [names, *([str(v) for v in row] for row in zip(*values, strict=True))]
        for i, (names, values) in enumerate(columns)
    }


def _compare_tables(
    path: str, found: dict[str, Grid], expected: dict[str, Grid]
) -> Iterator[Problem]:
    for name, grid in expected.items():
        if name in found:
            yield from _compare_grids(path, f"table {name}, " if name else "", found[name], grid)
        else:
            yield Problem(path, f"table {name}", "missing", "")
    for name in found.keys() - expected.keys():
        yield Problem(path, f"table {name}", "no recorded run makes it", "")


def _compare_grids(path: str, table: str, found: Grid, expected: Grid) -> Iterator[Problem]:
    if len(found) != len(expected):
        rows = f"{len(found) - 1} rows", f"{len(expected) - 1} rows"
        yield Problem(path, f"{table}length", *rows)
    names = expected[0] if expected else []
    for i, (row, other) in enumerate(zip(found, expected, strict=False)):
        for j, (a, b) in enumerate(zip_longest(row, other, fillvalue="nothing")):
            if a != b:
                place = f"row {i} ({_row_label(other)})" if i else "heading"
                column = f"column {names[j]}" if j < len(names) else f"column {j + 1}"
                yield Problem(path, f"{table}{place}, {column}", a or "empty", b or "empty")


def _row_label(row: Sequence[str]) -> str:
    """Return the words of a row by which a person finds it."""
    words = [cell for cell in row if cell and not _numeric(cell)]
    return ", ".join((words or list(row))[:6])[:LONGEST]


def _numeric(text: str) -> bool:
    try:
        float(text.split()[0].replace(",", ""))
    except ValueError:
        return False
    return True


def html_tables(page: bytes) -> dict[str, Grid]:
    """Return every table of a page of a site by its id: heading, then rows, as read.

    The site writes tables as well-formed XML. Raises ParseError for others.
    """
    found = re.findall(r"<table.*?</table>", page.decode(), re.DOTALL)
    tables = [ElementTree.fromstring(text) for text in found]
    return {
        table.get("id", ""): [
            [" ".join("".join(cell.itertext()).split()) for cell in row] for row in table.iter("tr")
        ]
        for table in tables
    }


# --- records --------------------------------------------------------------------------------------


def _compare_records(path: str, found: bytes, expected: bytes) -> Iterator[Problem]:
    mine, theirs = (
        {r["id"]: r for r in map(json.loads, data.splitlines())} for data in (found, expected)
    )
    for run in mine.keys() ^ theirs.keys():
        yield Problem(path, f"run {run}", "missing" if run in theirs else "not expected", "")
    for run in mine.keys() & theirs.keys():
        yield from compare_values(path, f"run {run}", mine[run], theirs[run])


def compare_values(path: str, where: str, found: object, expected: object) -> Iterator[Problem]:
    """Yield what differs between two JSON values, field by field."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted(found.keys() | expected.keys()):
            yield from compare_values(path, f"{where}, {key}", found.get(key), expected.get(key))
    elif json.dumps(found) != json.dumps(expected):
        yield Problem(path, where, json.dumps(found), json.dumps(expected))
