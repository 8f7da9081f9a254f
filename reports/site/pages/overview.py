"""The first page: what was compared, which method leads, and where everything is."""

from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import Any

from harness.tracking.run_record import Run
from reports.analyses.pareto import measured_on
from reports.results.board import Board, board_title, tested_metrics
from reports.site import content, links
from reports.site.content import Site, ranked_rows, row_link, row_name
from reports.site.html_table import Cell, Column, Table, build_table, count, number, text
from reports.site.links import File
from reports.site.pages import pareto
from reports.site.pages.configuration import RunColumns, metric_of, run_cell
from reports.site.pages.leaderboard import Columns, mean_cell, rows_of
from reports.site.render import render_page

FEW = 6  # rows of a leaderboard that are shown here


def overview_pages(site: Site) -> list[File]:
    """Return the overview and the list of all runs."""
    tables = [_leaders(board) for board in site.best]
    newest = max(run.started for run in site.runs)
    return [
        render_page(
            "index.html",
            "overview.html",
            "RingBench results",
            tables,
            boards=[_board(site, i, table) for i, table in enumerate(tables)],
            runs=len(site.runs),
            finished=len(site.finished),
            others=_unfinished(site),
            datasets=sorted({run.tags["dataset"] for run in site.runs}),
            seeds=sorted({int(run.tags["seed"]) for run in site.runs}),
            methods=[(name, links.method(name)) for name in site.methods],
            sweeps=[(name, links.sweep(name)) for name in site.source.sweeps],
            commits=_commits(site),
            newest=datetime.fromtimestamp(newest, UTC).strftime("%Y-%m-%d"),
        ),
        render_page("runs/index.html", "runs.html", "All runs", [_runs(site)]),
    ]


def _board(site: Site, i: int, table: Table) -> dict[str, Any]:
    best, whole = site.best[i], site.whole[i]
    cost = next(iter(content.cost_labels(whole)), None)
    picture = ""
    if cost is not None:
        dots = pareto.front_dots(whole, cost, site.fronts[i])
        picture = pareto.front_picture(whole, dots, cost, "index.html", f"plane-{table.name}")
    return {
        "title": board_title(best),
        "where": measured_on(best),
        "table": table.name,
        "folder": links.board_folder(best),
        "rows": len(ranked_rows(best)),
        "picture": picture,
    }


def _leaders(board: Board) -> Table:
    rows, at = ranked_rows(board).head(FEW), partial(row_link, board)
    columns: Columns = {
        text("method"): lambda row: Cell(row_name(row), at(row)),
        "rank": lambda row: number(row["rank"], 0, at(row)),
        f"{content.quality_label(board)}, %": lambda row: mean_cell(row, board.headline, at(row)),
        "over zero-shot": lambda row: number(row["gain"], 2, at(row), sign=True),
        "trainable": lambda row: count(row[f"{content.COST}_mean"], at(row)),
        "seeds": lambda row: Cell(str(row[f"{board.headline}_n"]), at(row)),
    }
    if any(rows["flags"]):
        columns[text("flags")] = lambda row: Cell(row["flags"], kind="flags")
    name = links.board_folder(board).removeprefix("boards/")
    caption = f"The first of {board_title(board)}"
    return build_table(f"top-{name}", caption, rows_of(rows), columns, sorts=False)


def _unfinished(site: Site) -> str:
    """Return how many runs did not finish, by status."""
    counts = Counter(run.status for run in site.runs if not run.finished)
    return ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in sorted(counts.items()))


def _commits(site: Site) -> list[tuple[str, int, bool]]:
    """Return (commit, runs, whether changes were uncommitted)."""
    counts = Counter(
        (run.tags.get("git_commit", "unknown")[:10], run.tags.get("git_dirty") == "true")
        for run in site.runs
    )
    return [(commit, n, dirty) for (commit, dirty), n in sorted(counts.items())]


def _runs(site: Site) -> Table:
    def accuracy(run: Run) -> Cell:
        return number(metric_of(run, tested_metrics(run.tags["protocol"])[-1]), 2, links.run(run))

    columns: RunColumns = {
        text("run id"): lambda run: run_cell(run, links.run(run), "code"),
        text("status"): lambda run: run.status,
        text("protocol"): lambda run: run.tags["protocol"],
        text("method"): lambda run: Cell(run.tags["method"], links.method(run.tags["method"])),
        text("data set"): lambda run: run.tags["dataset"],
        "shots": lambda run: run.tags["shots"],
        "seed": lambda run: run.tags["seed"],
        Column("accuracy, %", about="H, or accuracy"): accuracy,
        text("commit"): lambda run: Cell(run.tags.get("git_commit", "")[:10], kind="code"),
    }
    filters = [f"{run.tags['dataset']}|{run.tags['method']}" for run in site.runs]
    return build_table("runs", f"{len(site.runs)} runs", site.runs, columns, filters=filters)
