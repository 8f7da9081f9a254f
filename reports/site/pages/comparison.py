"""Comparison pages: which method is ahead of which, and by more than noise."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import pandas as pd

from methods.kit.core.errors import UsageError
from reports.analyses.comparison import Comparison, compare_methods
from reports.results import pairing
from reports.results.board import Board, board_title
from reports.results.selection import Candidate, configuration_title
from reports.site import links
from reports.site.content import Site, ranked_rows, row_link, row_name
from reports.site.html_table import Link, Table, frame_table
from reports.site.links import File
from reports.site.pages.pair import pair_pages
from reports.site.render import render_page
from reports.tables import comparison
from reports.tables.columns import MISSING
from reports.tables.sentence import comparison_sentence

TOGETHER = {
    "aggregate": "All runs together",
    "improvement": "The probability that a run of the first beats one of the second",
    "ranks": "Mean ranks over data sets, and Nemenyi's p for each pair",
}
WORDS = ("first", "second", "data set")
ALL_PAIRS = 6  # candidates; more are each compared with the first alone


def comparison_pages(site: Site) -> Iterator[File]:
    """Yield a page for each board and its pairs; the tables go along as CSV."""
    for board, together in zip(site.best, site.distributions, strict=True):
        found, notes = _comparisons(site, board)
        folder, link = links.board_folder(board), _links(board, found)
        captions = {name: text for name, text in TOGETHER.items() if name in together}
        yield render_page(
            f"{folder}/compare.html",
            "compare.html",
            f"Comparison: {board_title(board)}",
            [
                *_pair_tables(found, link),
                *(frame_table(n, text, together[n], link) for n, text in captions.items()),
            ],
            board=board_title(board),
            folder=folder,
            sentences=[comparison_sentence(c) for c in found],
            notes=[*notes, *(comparison.comparison_notes(found) if found else ())],
        )
        if found:
            tables = comparison.pairs_table(found), comparison.datasets_table(found)
            for name, table in zip(("pairs", "datasets"), tables, strict=True):
                text = table.to_csv(index=False, lineterminator="\n")
                yield File(f"{folder}/compare-{name}.csv", text.encode())
        yield from pair_pages(board, found)


def _comparisons(site: Site, board: Board) -> tuple[list[Comparison], list[str]]:
    """Compare all pairs of few candidates, or each of many with the first; note what is omitted."""
    rows = (row for _, row in ranked_rows(board).iterrows())
    candidates = [c for c in (_candidate(board, row) for row in rows) if not c.rows.empty]
    if len(candidates) < 2:
        return [], ["nothing to compare: fewer than two methods have finished runs"]
    first, *others = candidates
    compared, notes = [first], []
    for other in others:
        try:
            for earlier in compared if len(candidates) <= ALL_PAIRS else [first]:
                pairing.pair_runs(earlier, other, board.headline)
            compared.append(other)
        except UsageError as error:
            notes.append(str(error))
    if len(compared) < 2:
        return [], notes
    baseline = first if len(compared) > ALL_PAIRS else None
    if baseline:
        notes.append(f"each is compared with {first.name}, which has the best mean")
    runs = {run.id: run for run in site.finished}
    fetch = cache(lambda run_id: site.source.file(runs[run_id]))
    return compare_methods(compared, baseline, board.headline, fetch), notes


def _candidate(board: Board, row: pd.Series) -> Candidate:
    cells = board.cells[board.cells["group"] == row["group"]]
    title = configuration_title(row["method"], row["settings"])
    return Candidate(row["method"], row_name(row), title, cells)


def _pair_tables(found: Sequence[Comparison], link: Link) -> list[Table]:
    if not found:
        return []
    pairs = pd.DataFrame(comparison.pair_rows(found), columns=comparison.PAIR_COLUMNS)
    each = pd.DataFrame(comparison.dataset_rows(found), columns=comparison.DATASET_COLUMNS)
    return [
        frame_table("pairs", "Each pair over all data sets", pairs, link, WORDS),
        frame_table("each", "Each pair on each data set", each, link, WORDS),
    ]


def _links(board: Board, found: Sequence[Comparison]) -> Link:
    """Return the links of a board's comparisons: names to rows, numbers to pairs."""
    rows = {row_name(row): row_link(board, row) for _, row in ranked_rows(board).iterrows()}
    names = [(c.paired.a.name, c.paired.b.name) for c in found]
    pages = {pair: links.pair(board, *pair) for pair in names}

    def link(line: Mapping[str, Any], column: str) -> str:
        if line[column] == MISSING:
            return ""
        if column in ("first", "second"):
            return rows[line[column]]
        if "first" not in line:
            return rows[line["method"]]
        pair = line["first"], line["second"]
        page = pages.get(pair) or pages.get(pair[::-1]) or rows[pair[0]]
        return f"{page}#{links.slug(line['data set'])}" if "data set" in line else page

    return link
