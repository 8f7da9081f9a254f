"""The first page: what was compared, who leads, and where everything is."""

from collections import Counter
from datetime import UTC, datetime

from reports.analyses.pareto import measured_on
from reports.results.board import Board, board_title, tested_metrics
from reports.site import content, links
from reports.site.content import Site
from reports.site.html_table import Cell, Column, Table
from reports.site.links import File
from reports.site.pages import pareto
from reports.site.pages.leaderboard import count, number, spread
from reports.site.render import render_page
from reports.tables.sentence import score_name

FEW = 6  # rows of a leaderboard that stand here


def overview_pages(site: Site) -> list[File]:
    """The overview, and the list of all runs."""
    boards, tables = [], []
    for best, whole, front in zip(site.best, site.whole, site.fronts, strict=True):
        tables.append(_top(best))
        costs = content.cost_labels(whole)
        cost = next(iter(costs), None)
        boards.append(
            {
                "title": board_title(best),
                "where": measured_on(best),
                "table": tables[-1].name,
                "folder": links.board_link(best),
                "rows": len(content.ranked_rows(best)),
                "picture": ""
                if cost is None
                else pareto.picture(whole, pareto.dots(whole, cost, front), costs[cost],
                                         "index.html", f"plane-{tables[-1].name}"),
            }
        )  # fmt: skip
    newest = max(run.started for run in site.runs)
    return [
        render_page(
            "index.html",
            "overview.html",
            "RingBench results",
            tables,
            boards=boards,
            runs=len(site.runs),
            finished=len(site.finished),
            others=_others(site),
            datasets=sorted({run.tags["dataset"] for run in site.runs}),
            seeds=sorted({int(run.tags["seed"]) for run in site.runs}),
            methods=[(name, links.method(name)) for name in site.methods],
            sweeps=[(name, links.sweep(name)) for name in site.source.sweeps],
            commits=_commits(site),
            newest=datetime.fromtimestamp(newest, UTC).strftime("%Y-%m-%d"),
        ),
        render_page("runs/index.html", "runs.html", "All runs", [_runs(site)]),
    ]


def _top(board: Board) -> Table:
    """The leaders of a board."""
    metrics = board.metrics
    label = score_name(metrics[-1])
    heads = [
        Column("method", "text"),
        Column("rank"),
        Column(f"{label}, %"),
        Column("over zero-shot"),
    ]
    first = content.ranked_rows(board).head(FEW)
    flags = any(first["flags"])
    heads += [Column("trainable"), Column("seeds"), *([Column("flags", "text")] if flags else [])]
    rows = []
    for _, row in first.iterrows():
        at = links.row(board, row["group"], row["method"])
        rows.append(
            [
                Cell(content.row_name(row), at),
                number(row["rank"], 0, at),
                spread(row, board.headline, at),
                number(row["gain"], 2, at, sign=True),
                count(row["params/trainable_mean"], at),
                Cell(str(row[f"{board.headline}_n"]), at),
                *([Cell(row["flags"], kind="flags")] if flags else []),
            ]
        )
    name = links.board_link(board).removeprefix("boards/")
    return Table(f"top-{name}", f"The first of {board_title(board)}", heads, rows, sorts=False)


def _others(site: Site) -> str:
    """Runs that did not finish, by what became of them."""
    counts = Counter(run.status for run in site.runs if run.status != "finished")
    return ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in sorted(counts.items()))


def _commits(site: Site) -> list[tuple[str, int, bool]]:
    """Commits that made the runs: short name, how many runs, whether changes were uncommitted."""
    counts = Counter(
        (run.tags.get("git_commit", "unknown")[:10], run.tags.get("git_dirty") == "true")
        for run in site.runs
    )
    return [(commit, n, dirty) for (commit, dirty), n in sorted(counts.items())]


def _runs(site: Site) -> Table:
    heads = [Column("run", "text"), Column("status", "text"), Column("protocol", "text")]
    heads += [Column("method", "text"), Column("data set", "text"), Column("shots"), Column("seed")]
    heads += [Column("accuracy, %", about="H, or accuracy"), Column("commit", "text")]
    rows, marks = [], []
    for run in site.runs:
        tags = run.tags
        metric = tested_metrics(tags["protocol"])[-1]
        at = links.run(run)
        rows.append(
            [
                Cell(run.digest[:12] or run.id, at, kind="code"),
                Cell(run.status),
                Cell(tags["protocol"]),
                Cell(tags["method"], links.method(tags["method"])),
                Cell(tags["dataset"]),
                Cell(tags["shots"]),
                Cell(tags["seed"]),
                number(run.metrics.get(metric, float("nan")), 2, at),
                Cell(tags.get("git_commit", "")[:10], kind="code"),
            ]
        )
        marks.append(f"{tags['dataset']}|{tags['method']}")
    return Table("runs", f"{len(rows)} runs", heads, rows, marks=marks)
