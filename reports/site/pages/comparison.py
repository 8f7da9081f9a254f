"""Comparison pages: who is ahead of whom, and by more than noise."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import pandas as pd

from methods.kit.core.errors import UsageError
from reports.analyses.comparison import Comparison, compare_methods
from reports.results import pairing
from reports.results.board import Board, board_title
from reports.results.selection import Candidate
from reports.results.selection import configuration_title as spelt
from reports.site import content, links
from reports.site.content import Site
from reports.site.html_table import Cell, Column, Table
from reports.site.links import File, board_link
from reports.site.pages import pair
from reports.site.render import render_page
from reports.tables import comparison
from reports.tables.columns import MISSING
from reports.tables.sentence import comparison_sentence

TOGETHER = (
    ("aggregate", "All runs together"),
    ("improvement", "The chance that a run of the first beats one of the second"),
    ("ranks", "Mean ranks over data sets, and Nemenyi's p for each pair"),
)
MANY = 6  # entrants beyond which each is compared with the first alone


def comparison_pages(site: Site) -> Iterator[File]:
    """A page for each board with two methods or more; its tables go along as CSV."""
    for board, together in zip(site.best, site.distributions, strict=True):
        found, notes = comparisons(site, board)
        folder = board_link(board)
        links = _Links(board, found)
        tables = [links.pairs(found), links.each(found)] if found else []
        tables += [
            plain(name, caption, together[name], links.of)
            for name, caption in TOGETHER
            if name in together
        ]
        yield render_page(
            f"{folder}/compare.html",
            "compare.html",
            f"Comparison: {board_title(board)}",
            tables,
            board=board_title(board),
            folder=folder,
            sentences=[comparison_sentence(c) for c in found],
            notes=[*notes, *(comparison.comparison_notes(found) if found else ())],
            names=[t.name for t in tables],
        )
        if found:
            for name, table in (("pairs", comparison.pairs_table(found)),
                                ("datasets", comparison.datasets_table(found))):  # fmt: skip
                text = table.to_csv(index=False, lineterminator="\n")
                yield File(f"{folder}/compare-{name}.csv", text.encode())
        yield from pair.pair_pages(board, found)


def comparisons(site: Site, board: Board) -> tuple[list[Comparison], list[str]]:
    """Every pair of few methods, of many each against the first; and what was left out."""
    entrants = [_entrant(board, row) for _, row in content.ranked_rows(board).iterrows()]
    entrants = [e for e in entrants if not e.rows.empty]
    if len(entrants) < 2:
        return [], ["nothing to compare: fewer than two methods have finished runs"]
    first, *others = entrants
    kept, notes = [first], []
    for other in others:
        try:
            few = len(entrants) <= MANY
            for earlier in kept if few else [first]:
                pairing.pair_runs(earlier, other, board.headline)
            kept.append(other)
        except UsageError as error:
            notes.append(str(error))
    if len(kept) < 2:
        return [], notes
    if len(kept) > MANY:
        notes.append(f"each is compared with {first.name}, which has the best mean")
    runs = {run.id: run for run in site.finished}
    fetch = cache(lambda run_id: site.source.file(runs[run_id]))
    baseline = first if len(kept) > MANY else None
    return compare_methods(kept, baseline, board.headline, fetch), notes


def _entrant(board: Board, row: pd.Series) -> Candidate:
    cells = board.cells[board.cells["group"] == row["group"]]
    return Candidate(
        row["method"], content.row_name(row), spelt(row["method"], row["settings"]), cells
    )


class _Links:
    """Numbers of a board as links to their runs: of a method to its row, of a pair to its page."""

    def __init__(self, board: Board, found: Sequence[Comparison]) -> None:
        rows = content.ranked_rows(board)
        self._rows = {
            content.row_name(r): links.row(board, r["group"], r["method"])
            for _, r in rows.iterrows()
        }
        names = [(c.paired.a.name, c.paired.b.name) for c in found]
        self._pairs = {pair: links.pair(board, *pair) for pair in names}

    def pairs(self, found: Sequence[Comparison]) -> Table:
        heads = [
            Column(h, "text" if h in ("first", "second") else "number")
            for h in comparison.PAIR_COLUMNS
        ]
        rows = [
            [Cell(text, self._of_pair(i, line, "")) for i, text in enumerate(line)]
            for line in comparison.pair_rows(found)
        ]
        return Table("pairs", "Each pair over all data sets", heads, rows)

    def each(self, found: Sequence[Comparison]) -> Table:
        words = ("first", "second", "data set")
        heads = [Column(h, "text" if h in words else "number") for h in comparison.DATASET_COLUMNS]
        rows = [
            [
                Cell(text, self._of_pair(i, line, f"#{links.slug(line[2])}"))
                for i, text in enumerate(line)
            ]
            for line in comparison.dataset_rows(found)
        ]
        return Table("each", "Each pair on each data set", heads, rows)

    def of(self, line: Mapping[str, object], column: str) -> str:
        """Where a cell of a table about all methods together leads."""
        first, second = (str(line.get(k, "")) for k in ("first", "second"))
        if column in ("first", "second"):
            return self._rows[str(line[column])]
        if "first" in line:
            both = self._pairs.get((first, second)) or self._pairs.get((second, first))
            return both or self._rows[first]
        return self._rows[str(line["method"])]

    def _of_pair(self, column: int, line: Sequence[str], anchor: str) -> str:
        """The first two columns name the pair."""
        if line[column] == MISSING:
            return ""
        at = self._rows[line[column]] if column < 2 else self._pairs[line[0], line[1]]
        return at + anchor


def plain(
    name: str,
    caption: str,
    table: pd.DataFrame,
    link: Callable[[Mapping[str, object], str], str] = lambda line, column: "",
) -> Table:
    """A table as it is, numbers to three decimals. ``link`` says where a column of a row leads."""
    kinds = [pd.api.types.is_numeric_dtype(table[c]) for c in table]
    heads = [Column(str(c), "number" if k else "text") for c, k in zip(table, kinds, strict=True)]
    rows = [
        [_cell(value, link(line, column)) for column, value in line.items()]
        for line in (dict(zip(map(str, table), row, strict=True))
                     for row in table.itertuples(index=False))
    ]  # fmt: skip
    return Table(name, caption, heads, rows)


def _cell(value: object, at: str) -> Cell:
    if isinstance(value, float):
        return Cell("-") if math.isnan(value) else Cell(f"{value:.3f}", at, value=value)
    return Cell(str(value), at)
