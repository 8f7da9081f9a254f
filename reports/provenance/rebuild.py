"""The tables of each command as a function of runs: made by it, and by ``verify`` again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from harness.spec.quantities import find_quantity
from harness.tracking.ledger import Ledger
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.analyses import comparison_request, dominated_share, pareto, rank_curves, task_affinity
from reports.analyses.comparison_request import ComparisonRequest, RequestedComparison
from reports.analyses.dominated_share import DominatedShare
from reports.analyses.pareto import Axes, ParetoPoint
from reports.analyses.rank_curves import RankCurves
from reports.provenance import inspection_tables, manifest
from reports.provenance.manifest import TableSet
from reports.provenance.sweep_tables import COMMANDS, remake_tables
from reports.results.board import Board, boards, runs_frame
from reports.tables import comparison, paper_table
from reports.tables.pareto import pareto_files


@dataclass(frozen=True)
class Front:
    """The points of each panel, what the families dominate, and over which quantities."""

    panels: list[list[ParetoPoint]]
    measured: list[DominatedShare]
    asked: Axes
    per_data: bool


def leaderboard_tables(found: list[Board], best: bool) -> TableSet:
    settings = {"command": "leaderboard", "best": best}
    return manifest.tables_of_boards(
        "leaderboard", settings, paper_table.leaderboard_files(found), found
    )


def affinity_tables(board: Board, best: bool, text: str) -> TableSet:
    """Of multi_task how alike the tasks' gradients were."""
    settings = {"command": "affinity", "best": best}
    return manifest.tables_of_boards("affinity", settings, {"affinity.csv": text}, [board])


def measure_front(board: Board, asked: Axes, per_data: bool) -> Front:
    """The points of a board, or of each of its data sets. Raises UsageError for none."""
    names = [q.name if q else None for q in (asked.cost, asked.quality, asked.third)]
    cost, quality, third = str(names[0]), str(names[1]), names[2]
    each = board.datasets if per_data else (None,)
    panels = [pareto.pareto_points(board, cost, quality, third, d) for d in each]
    if not all(panels):
        raise UsageError(f"nothing has a mean of {cost} and {quality}: its grid is incomplete")
    measured = [
        f for panel in panels for f in dominated_share.dominated_shares(board, panel, asked)
    ]
    return Front(panels, measured, asked, per_data)


def front_tables(found: Front, board: Board) -> TableSet:
    settings = {"command": "pareto", **_names(found.asked), "per_data": found.per_data}
    texts = pareto_files(found.panels, found.measured, found.asked)
    return manifest.tables_of_boards("pareto", settings, texts, [board])


def curve_tables(found: RankCurves, board: Board) -> TableSet:
    settings = {"command": "pareto --curves", **_names(found.asked)}
    return manifest.tables_of_boards(
        rank_curves.STEM,
        settings,
        {f"{rank_curves.STEM}.csv": rank_curves.curves_csv(found)},
        [board],
    )


def sweep_curve_tables(found: RankCurves, table: Any) -> TableSet:
    """The curves of sweeps, ``table`` with a row a run."""
    settings = {"command": "pareto --curves --sweep", **_names(found.asked)}
    rows = [
        {"method": method, "configuration": configuration, "runs": part["run_id"].tolist()}
        for (method, configuration), part in table.groupby(["method", "configuration"])
    ]
    text = {f"{rank_curves.STEM}.csv": rank_curves.curves_csv(found)}
    read = tuple(table["run_id"])
    return TableSet(rank_curves.STEM, settings, text, rows, manifest.run_facts(table), read)


def compare_tables(asked: ComparisonRequest, found: RequestedComparison) -> TableSet:
    rows, used = [], set()
    for one in found.pairs:
        for dataset, cells in one.paired.cells.groupby("dataset"):
            runs = [*cells["run_id_a"], *cells["run_id_b"]]
            used.update(runs)
            names = {"first": one.paired.a.name, "second": one.paired.b.name}
            rows.append({**names, "dataset": dataset, "runs": runs})
    table = found.table
    told = manifest.run_facts(table[table["run_id"].isin(used)])
    settings = {"command": "compare", **asdict(asked)}
    texts = comparison.comparison_files(found.pairs, found.title)
    return TableSet("compare", settings, texts, rows, told, tuple(table["run_id"]))


def _names(asked: Axes) -> dict[str, str]:
    named = {"cost": asked.cost, "quality": asked.quality, "third": asked.third}
    return {role: q.name for role, q in named.items() if q is not None}


def rebuild_tables(settings: dict[str, Any], runs: Sequence[Run], ledger: Ledger) -> TableSet:
    """The tables of a manifest from the runs that its command read.

    Raises UsageError, KeyError, TypeError or ValueError where these runs give no such tables.
    """
    command = settings["command"]
    if command in inspection_tables.COMMANDS:
        return inspection_tables.make(settings, runs, ledger)
    if command in COMMANDS:
        return remake_tables(settings, runs, cache(ledger.predictions))
    if command == "compare":
        words = {k: v for k, v in settings.items() if k != "command"}
        asked = ComparisonRequest(**{**words, "names": tuple(words["names"])})
        fetch = cache(ledger.predictions)
        return compare_tables(asked, comparison_request.compare_requested(asked, runs, fetch))
    if command == "pareto --curves --sweep":
        axes = Axes(find_quantity(settings["cost"]), find_quantity(settings["quality"]))
        table = rank_curves.trial_frame(runs_frame(runs, tested=False), axes)
        return sweep_curve_tables(rank_curves.trial_curves(table, axes, ""), table)
    if command == "leaderboard":
        return leaderboard_tables(boards(runs, settings["best"]), settings["best"])
    if command == "affinity":
        (board,) = boards(runs, settings["best"])
        return affinity_tables(
            board,
            settings["best"],
            task_affinity.affinity_csv(task_affinity.affinity_table(board, ledger.tables)),
        )
    (board,) = boards(runs)
    axes = pareto.find_axes(board, settings["cost"], settings["quality"], settings.get("third"))
    if command == "pareto --curves":
        return curve_tables(rank_curves.board_curves(board, axes), board)
    if command == "pareto":
        return front_tables(measure_front(board, axes, settings["per_data"]), board)
    raise ValueError(f"no command {command!r} is known")
