"""Table sets of each command as a function of runs: written by it and rebuilt by ``verify``."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import pandas as pd

from harness.spec.quantities import find_quantity
from harness.tracking.ledger import Ledger
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.analyses import comparison_request, dominated_share, pareto, rank_curves, task_affinity
from reports.analyses.comparison_request import ComparisonRequest, RequestedComparison
from reports.analyses.dominated_share import DominatedShare
from reports.analyses.pareto import Axes, ParetoPoint
from reports.analyses.rank_curves import RankCurves
from reports.provenance.manifest import TableSet, run_facts, tables_of_boards
from reports.results.board import Board, boards, runs_frame
from reports.tables import comparison, paper_table
from reports.tables.pareto import pareto_files

Settings = dict[str, Any]
CURVES = f"{rank_curves.STEM}.csv"


@dataclass(frozen=True)
class Front:
    """The points of each panel, the share of the plane that each method dominates, the axes."""

    panels: list[list[ParetoPoint]]
    measured: list[DominatedShare]
    asked: Axes
    per_data: bool


def leaderboard_tables(found: list[Board], best: bool) -> TableSet:
    settings = {"command": "leaderboard", "best": best}
    return tables_of_boards("leaderboard", settings, paper_table.leaderboard_files(found), found)


def affinity_tables(board: Board, best: bool, text: str) -> TableSet:
    """Return the affinity of the tasks of a multi_task board."""
    settings = {"command": "affinity", "best": best}
    return tables_of_boards("affinity", settings, {"affinity.csv": text}, [board])


def measure_front(board: Board, axes: Axes, per_data: bool) -> Front:
    """Return the points of a board, or of each of its data sets. Raises UsageError for none."""
    datasets = board.datasets if per_data else (None,)
    panels = [pareto.pareto_points(board, axes, d) for d in datasets]
    if not all(panels):
        names = f"{axes.cost.name} and {axes.quality.name}"
        raise UsageError(f"nothing has a mean of {names}: its grid is incomplete")
    shares = [dominated_share.dominated_shares(board, panel, axes) for panel in panels]
    return Front(panels, [share for of_panel in shares for share in of_panel], axes, per_data)


def front_tables(front: Front, board: Board) -> TableSet:
    settings = {"command": "pareto", **_axis_names(front.asked), "per_data": front.per_data}
    files = pareto_files(front.panels, front.measured, front.asked)
    return tables_of_boards("pareto", settings, files, [board])


def curve_tables(curves: RankCurves, board: Board) -> TableSet:
    settings = {"command": "pareto --curves", **_axis_names(curves.axes)}
    files = {CURVES: rank_curves.curves_csv(curves)}
    return tables_of_boards(rank_curves.STEM, settings, files, [board])


def sweep_curve_tables(curves: RankCurves, table: pd.DataFrame) -> TableSet:
    """Return the curves of sweeps; ``table`` has a row for each run."""
    settings = {"command": "pareto --curves --sweep", **_axis_names(curves.axes)}
    rows = [
        {"method": method, "configuration": configuration, "runs": part["run_id"].tolist()}
        for (method, configuration), part in table.groupby(["method", "configuration"])
    ]
    files = {CURVES: rank_curves.curves_csv(curves)}
    read = tuple(table["run_id"])
    return TableSet(rank_curves.STEM, settings, files, rows, run_facts(table), read)


def compare_tables(request: ComparisonRequest, found: RequestedComparison) -> TableSet:
    rows, used = [], set()
    for pair in found.pairs:
        names = {"first": pair.paired.a.name, "second": pair.paired.b.name}
        for dataset, cells in pair.paired.cells.groupby("dataset"):
            runs = [*cells["run_id_a"], *cells["run_id_b"]]
            used.update(runs)
            rows.append({**names, "dataset": dataset, "runs": runs})
    table = found.table
    facts = run_facts(table[table["run_id"].isin(used)])
    settings = {"command": "compare", **asdict(request)}
    files = comparison.comparison_files(found.pairs, found.title)
    return TableSet("compare", settings, files, rows, facts, tuple(table["run_id"]))


def _axis_names(axes: Axes) -> dict[str, str]:
    named = {"cost": axes.cost, "quality": axes.quality, "third": axes.third}
    return {role: q.name for role, q in named.items() if q is not None}


# --- rebuilding -----------------------------------------------------------------------------------


def _leaderboard(settings: Settings, runs: Sequence[Run], ledger: Ledger) -> TableSet:
    return leaderboard_tables(boards(runs, settings["best"]), settings["best"])


def _affinity(settings: Settings, runs: Sequence[Run], ledger: Ledger) -> TableSet:
    (board,) = boards(runs, settings["best"])
    table = task_affinity.affinity_table(board, ledger.tables)
    return affinity_tables(board, settings["best"], task_affinity.affinity_csv(table))


def _board_and_axes(settings: Settings, runs: Sequence[Run]) -> tuple[Board, Axes]:
    (board,) = boards(runs)
    names = settings["cost"], settings["quality"], settings.get("third")
    return board, pareto.find_axes(board, *names)


def _pareto(settings: Settings, runs: Sequence[Run], ledger: Ledger) -> TableSet:
    board, axes = _board_and_axes(settings, runs)
    return front_tables(measure_front(board, axes, settings["per_data"]), board)


def _curves(settings: Settings, runs: Sequence[Run], ledger: Ledger) -> TableSet:
    board, axes = _board_and_axes(settings, runs)
    return curve_tables(rank_curves.board_curves(board, axes), board)


def _sweep_curves(settings: Settings, runs: Sequence[Run], ledger: Ledger) -> TableSet:
    axes = Axes(find_quantity(settings["cost"]), find_quantity(settings["quality"]))
    table = rank_curves.trial_frame(runs_frame(runs, tested=False), axes)
    return sweep_curve_tables(rank_curves.trial_curves(table, axes, ""), table)


def _compare(settings: Settings, runs: Sequence[Run], ledger: Ledger) -> TableSet:
    options = {k: v for k, v in settings.items() if k != "command"}
    request = ComparisonRequest(**{**options, "names": tuple(options["names"])})
    fetch = cache(ledger.predictions)
    return compare_tables(request, comparison_request.compare_requested(request, runs, fetch))


def _rebuilders() -> dict[str, Callable[[Settings, Sequence[Run], Ledger], TableSet]]:
    from reports.provenance import inspection_tables, sweep_tables  # these need torch, matplotlib

    return {
        "leaderboard": _leaderboard,
        "affinity": _affinity,
        "pareto": _pareto,
        "pareto --curves": _curves,
        "pareto --curves --sweep": _sweep_curves,
        "compare": _compare,
        **inspection_tables.REBUILDERS,
        **sweep_tables.REBUILDERS,
    }


def rebuild_tables(settings: Settings, runs: Sequence[Run], ledger: Ledger) -> TableSet:
    """Return the tables of a manifest from the runs that its command read.

    Raises UsageError, KeyError, TypeError or ValueError where these runs give no such tables.
    """
    return _rebuilders()[settings["command"]](settings, runs, ledger)
