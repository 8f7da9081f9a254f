"""The page of a pair: run beside run, what its difference and intervals are computed from."""

from collections.abc import Iterator, Sequence

import pandas as pd

from reports.analyses.comparison import Comparison
from reports.results.board import Board, board_title
from reports.results.pairing import metric_parts
from reports.site import links
from reports.site.html_table import Cell, Column, Table
from reports.site.links import File
from reports.site.pages.leaderboard import number
from reports.site.render import render_page
from reports.tables.columns import column_label
from reports.tables.sentence import comparison_sentence


def pair_pages(board: Board, found: Sequence[Comparison]) -> Iterator[File]:
    """A page for each comparison of a board."""
    for one in found:
        cells = one.paired.cells
        tables = [_table(one, str(name), part) for name, part in cells.groupby("dataset")]
        first, second = one.paired.a.name, one.paired.b.name
        yield render_page(
            links.pair(board, first, second),
            "pair.html",
            f"{first} and {second}: their runs",
            tables,
            board=board_title(board),
            folder=links.board_link(board),
            pair=(first, second),
            sentence=comparison_sentence(one),
            names=[t.name for t in tables],
        )


def _table(one: Comparison, dataset: str, cells: pd.DataFrame) -> Table:
    """A row a seed: both runs, and the accuracies that are compared."""
    metrics = list(dict.fromkeys((*metric_parts(one.metric), one.metric)))
    heads = [Column("seed", "text"), Column("first", "text"), Column("second", "text")]
    for metric in metrics:
        heads += [Column(f"{column_label(metric)} {which}") for which in ("first", "second")]
    heads.append(Column("difference"))
    rows = []
    for _, cell in cells.sort_values("seed").iterrows():
        at = {side: links.run(cell[f"run_id_{side}"]) for side in "ab"}
        line = [Cell(str(cell["seed"]))]
        for side in "ab":
            about = f"digest {cell[f'digest_{side}']}, run {cell[f'run_id_{side}']}"
            line.append(Cell(cell[f"digest_{side}"][:12], at[side], title=about))
        for metric in metrics:
            line += [number(cell[f"{metric}_{side}"], 4, at[side]) for side in "ab"]
        line.append(number(cell[f"{one.metric}_a"] - cell[f"{one.metric}_b"], 4, sign=True))
        rows.append(line)
    caption = f"Runs on {dataset}: {one.paired.a.name} first, {one.paired.b.name} second"
    return Table(links.slug(dataset), caption, heads, rows, sorts=False)
