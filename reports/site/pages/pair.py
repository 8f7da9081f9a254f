"""The page of a compared pair: its runs side by side, from which the difference is computed."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pandas as pd

from reports.analyses.comparison import Comparison
from reports.results.board import Board, board_title
from reports.results.pairing import metric_parts
from reports.site import links
from reports.site.html_table import Cell, Column, Table, build_table, number, text
from reports.site.links import File
from reports.site.render import render_page
from reports.tables.columns import column_label
from reports.tables.sentence import comparison_sentence

SIDES = {"a": "first", "b": "second"}


def pair_pages(board: Board, found: Sequence[Comparison]) -> Iterator[File]:
    """Yield a page for each comparison of a board."""
    for one in found:
        first, second = one.paired.a.name, one.paired.b.name
        yield render_page(
            links.pair(board, first, second),
            "pair.html",
            f"{first} and {second}: their runs",
            [_table(one, str(name), part) for name, part in one.paired.cells.groupby("dataset")],
            board=board_title(board),
            folder=links.board_folder(board),
            pair=(first, second),
            sentence=comparison_sentence(one),
        )


def _table(one: Comparison, dataset: str, cells: pd.DataFrame) -> Table:
    """Return a row for each seed: both runs, and the accuracies that are compared."""

    def run(side: str, cell: pd.Series) -> Cell:
        digest, run = cell[f"digest_{side}"], cell[f"run_id_{side}"]
        return Cell(digest[:12], links.run(run), title=f"run id {digest}, MLflow run {run}")

    def value(metric: str, side: str, cell: pd.Series) -> Cell:
        return number(cell[f"{metric}_{side}"], 4, links.run(cell[f"run_id_{side}"]))

    columns: dict[Column | str, Callable[[pd.Series], Cell | str]] = {
        text("seed"): lambda cell: str(cell["seed"]),
        **{text(name): partial(run, side) for side, name in SIDES.items()},
    }
    for metric in dict.fromkeys((*metric_parts(one.metric), one.metric)):
        for side, name in SIDES.items():
            columns[f"{column_label(metric)} {name}"] = partial(value, metric, side)
    columns["difference"] = lambda cell: number(
        cell[f"{one.metric}_a"] - cell[f"{one.metric}_b"], 4, sign=True
    )
    caption = f"Runs on {dataset}: {one.paired.a.name} first, {one.paired.b.name} second"
    rows = [cell for _, cell in cells.sort_values("seed").iterrows()]
    return build_table(links.slug(dataset), caption, rows, columns, sorts=False)
