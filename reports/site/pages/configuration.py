"""The page of a leaderboard row: the runs that its numbers are means of."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pandas as pd

from harness.tracking.run_record import Run
from reports.results.board import AVERAGE, Board, board_title
from reports.site import links
from reports.site.content import Site, row_name
from reports.site.html_table import Cell, Column, Table, build_table, count, number, text
from reports.site.links import File
from reports.site.render import render_page
from reports.statistics.intervals import t_interval
from reports.tables.columns import column_label

HASHES = ("data_hash", "names_hash", "template_hash", "transform_hash", "subset_hash")
RunColumns = dict[Column | str, Callable[[Run], Cell | str]]


def configuration_pages(site: Site) -> Iterator[File]:
    """Yield a page for every configuration of every board."""
    runs = {run.id: run for run in site.runs}
    for board in site.whole:
        metrics = [m for m in board.metrics if m in board.cells]
        texts = dict.fromkeys(("group", "dataset", "run_id"), object)
        cells = board.cells[[*texts, "seed", *metrics]].astype(texts)  # picked from many times
        parts = {str(group): part for group, part in cells.groupby("group")}
        for group, row in board.rows.drop_duplicates("group").set_index("group").iterrows():
            part = parts.get(str(group), cells.iloc[:0])
            yield _page(board, str(group), row, part, runs)


def _page(
    board: Board, group: str, row: pd.Series, part: pd.DataFrame, runs: dict[str, Run]
) -> File:
    average = board.rows[(board.rows["group"] == group) & (board.rows["dataset"] == AVERAGE)]
    tables = [_average(board, average.iloc[0])] if len(average) else []
    for dataset, cells in part.groupby("dataset"):
        tables.append(_dataset(board, str(dataset), cells.sort_values("seed"), runs))
    return render_page(
        links.row(board, group, row["method"]),
        "row.html",
        f"{row_name(row)}: its runs",
        tables,
        name=row_name(row),
        method=row["method"],
        board=board_title(board),
        folder=links.board_folder(board),
        method_page=links.method(row["method"]),
    )


def _average(board: Board, row: pd.Series) -> Table:
    ends = {"mean": "mean", "95 % from": "low", "to": "high"}
    columns: dict[Column | str, Callable[[str], Cell | str]] = {
        text("accuracy"): lambda metric: column_label(metric),
        **{
            head: partial(lambda end, metric: number(row[f"{metric}_{end}"], 4), end)
            for head, end in ends.items()
        },
        "seeds": lambda metric: str(row[f"{metric}_n"]),
    }
    caption = "Average over data sets, seed by seed, of the runs below"
    return build_table(AVERAGE, caption, board.metrics, columns, sorts=False)


def _dataset(board: Board, dataset: str, cells: pd.DataFrame, runs: dict[str, Run]) -> Table:
    metrics = [m for m in board.metrics if m in cells]
    values = {cell["run_id"]: cell for cell in cells.to_dict("records")}
    columns: RunColumns = {
        text("seed"): lambda run: str(values[run.id]["seed"]),
        text("run id"): lambda run: run_cell(run, links.run(run)),
        **{
            column_label(m): partial(lambda m, run: number(values[run.id][m], 4, links.run(run)), m)
            for m in metrics
        },
        **run_columns(links.run),
    }
    shown = [runs[run] for run in values]
    table = build_table(links.slug(dataset), f"Runs on {dataset}", shown, columns, sorts=False)
    if len(cells) < 2:
        return table
    means = [t_interval(cells[m].dropna().tolist()) for m in metrics]
    found = [Cell(f"{e.mean:.4f}", small=_interval(e.low, e.high)) for e in means]
    rest = [Cell("")] * (len(columns) - 2 - len(metrics))
    return replace(
        table, rows=[*table.rows, [Cell("mean"), Cell(f"{len(cells)} runs"), *found, *rest]]
    )


def run_cell(run: Run, href: str = "", kind: str = "") -> Cell:
    about = f"run id {run.digest}, MLflow run {run.id}"
    return Cell(run.digest[:12] or run.id, href, kind=kind, title=about)


def run_columns(link: Callable[[Run], str]) -> RunColumns:
    """Return columns of a run's costs, commit and hashes; numbers lead to ``link``."""

    def tag(name: str) -> Callable[[Run], Cell]:
        return lambda run: Cell(run.tags.get(name, "")[:10], kind="code")

    return {
        "trainable": lambda run: count(metric_of(run, "params/trainable"), link(run)),
        "train s": lambda run: number(metric_of(run, "time/train_seconds"), 2, link(run)),
        text("commit"): tag("git_commit"),
        **{text(name.replace("_hash", "")): tag(name) for name in HASHES},
    }


def metric_of(run: Run, metric: str) -> float:
    return run.metrics.get(metric, math.nan)


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"({low:.2f} to {high:.2f})"
