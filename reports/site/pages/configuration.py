"""The page of a row of a leaderboard: the runs that its numbers are means of."""

import math
from collections.abc import Iterator

import pandas as pd

from harness.tracking.run_record import Run
from reports.results.board import AVERAGE, Board, board_title
from reports.site import links
from reports.site.content import Site
from reports.site.html_table import Cell, Column, Table
from reports.site.links import File
from reports.site.pages.leaderboard import count, number
from reports.site.render import render_page
from reports.statistics.intervals import t_interval
from reports.tables.columns import column_label

PRINTS = ("data_hash", "names_hash", "template_hash", "transform_hash", "subset_hash")


def configuration_pages(site: Site) -> Iterator[File]:
    """A page for every configuration of every board."""
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
    path = links.row(board, group, row["method"])
    name = f"{row['method']} {row['settings']}".strip()
    tables = [
        _table(board, str(d), cells.sort_values("seed"), runs)
        for d, cells in part.groupby("dataset")
    ]
    average = board.rows[(board.rows["group"] == group) & (board.rows["dataset"] == AVERAGE)]
    if len(average):
        tables.insert(0, _average(board, average.iloc[0]))
    return render_page(
        path,
        "row.html",
        f"{name}: its runs",
        tables,
        name=name,
        method=row["method"],
        board=board_title(board),
        folder=links.board_link(board),
        method_page=links.method(row["method"]),
        names=[t.name for t in tables],
    )


def _average(board: Board, row: pd.Series) -> Table:
    heads = [
        Column("accuracy", "text"),
        Column("mean"),
        Column("95 % from"),
        Column("to"),
        Column("seeds"),
    ]
    cells = [
        [
            Cell(column_label(m)),
            *(number(row[f"{m}_{end}"], 4) for end in ("mean", "low", "high")),
            Cell(str(row[f"{m}_n"])),
        ]
        for m in board.metrics
    ]
    caption = "Average over data sets, seed by seed, of the runs below"
    return Table(AVERAGE, caption, heads, cells, sorts=False)


def _table(board: Board, dataset: str, cells: pd.DataFrame, runs: dict[str, Run]) -> Table:
    metrics = [m for m in board.metrics if m in cells]
    heads = [
        Column("seed", "text"),
        Column("run", "text"),
        *(Column(column_label(m)) for m in metrics),
    ]
    heads += [Column("trainable"), Column("train s"), Column("commit", "text")]
    heads += [Column(p.replace("_hash", ""), "text") for p in PRINTS]
    rows = []
    for cell in cells.to_dict("records"):
        run, at = runs[cell["run_id"]], links.run(cell["run_id"])
        rows.append(
            [
                Cell(str(cell["seed"])),
                Cell(run.digest[:12] or run.id, at, title=f"digest {run.digest}, run {run.id}"),
                *(number(cell[m], 4, at) for m in metrics),
                count(_known(run, "params/trainable"), at),
                number(_known(run, "time/train_seconds"), 2, at),
                Cell(run.tags.get("git_commit", "")[:10], kind="code"),
                *(Cell(run.tags.get(p, "")[:10], kind="code") for p in PRINTS),
            ]
        )
    if len(cells) > 1:
        means = [t_interval(cells[m].dropna().tolist()) for m in metrics]
        found = [Cell(f"{e.mean:.4f}", small=_span(e.low, e.high)) for e in means]
        rest = [Cell("")] * (len(heads) - 2 - len(metrics))
        rows.append([Cell("mean"), Cell(f"{len(cells)} runs"), *found, *rest])
    return Table(links.slug(dataset), f"Runs on {dataset}", heads, rows, sorts=False)


def _known(run: Run, metric: str) -> float:
    return run.metrics.get(metric, math.nan)


def _span(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"({low:.2f} to {high:.2f})"
