"""What ``ringbench pareto`` was asked about the ledger: drawn, written and shown."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.cli import console
from harness.spec.paths import report_folder
from harness.spec.quantities import find_quantity
from methods.kit.core.errors import UsageError
from reports.analyses import budget, dominated_share, pareto, rank_curves, trial_cloud
from reports.analyses.pareto import Axes, ParetoPoint
from reports.cli.output import collect_boards, single_board
from reports.figures.rank_curves import write_curves
from reports.provenance import manifest, rebuild
from reports.results.board import Board
from reports.tables.pareto import shares_note

COST = "params/trainable"


@dataclass(frozen=True)
class ParetoRequest:
    """Options as typed."""

    cost: str | None = None
    quality: str | None = None
    third: str | None = None
    at: tuple[str, ...] = ()
    per_data: bool = False
    cloud: tuple[str, ...] = ()


def show_front(
    wanted: ParetoRequest,
    protocol: str | None,
    backbone: str | None,
    out: Path | None,
    uri: str | None,
    as_json: bool,
) -> None:
    """The front of a board, how much each method dominates, and the best within budgets."""
    from reports.figures.pareto import save_pareto  # matplotlib is slow to import

    limits = [budget.parse_budget(word) for word in wanted.at]
    board = single_board(collect_boards(uri, protocol, backbone))
    cost, quality = wanted.cost or COST, wanted.quality or board.headline
    asked = pareto.find_axes(board, cost, quality, wanted.third)
    behind = trial_cloud.trial_cloud(wanted.cloud, board, asked) if wanted.cloud else None
    front = rebuild.measure_front(board, asked, wanted.per_data)
    panels, measured, found = front.panels, front.measured, front.panels[0]
    if wanted.per_data:
        found = pareto.pareto_points(board, cost, quality, wanted.third, judged=False)
    if not found:
        raise UsageError(f"nothing has a mean of {cost} and {quality}: its grid is incomplete")
    readings = [budget.best_within_budget(board, found, asked, limit) for limit in limits]
    folder = report_folder(out)
    drawn = save_pareto(panels, board, asked, behind, folder)
    paths = manifest.write_manifest(rebuild.front_tables(front, board), folder, drawn)
    if as_json:
        shown = {
            "points": [_plain(p) for panel in panels for p in panel],
            "families": [_plain(f) for f in measured],
            "at": [
                {"limit": r.limit, "chosen_by_validation": r.chosen,
                 "methods": [_plain(p) | {"best_chance": _number(c)} for p, c in r.best]}
                for r in readings
            ],
        }  # fmt: skip
        return console.as_json(shown)
    for panel in panels:
        _table(board, panel, asked)
    _families(measured, asked)
    for reading in readings:
        console.out.print(budget.budget_sentence(reading, asked), soft_wrap=True, markup=False)
        if not reading.chosen:
            console.say("  no validation accuracies in common: each configuration for itself")
    return console.say("written: " + ", ".join(str(p) for p in paths))


def show_curves(
    wanted: ParetoRequest,
    sweeps: Sequence[str],
    protocol: str | None,
    backbone: str | None,
    out: Path | None,
    uri: str | None,
    as_json: bool,
) -> None:
    """Accuracy against size, a curve a method; of sweeps on validation data."""
    if sweeps:
        from reports.results.sweeps import read_sweep

        first = read_sweep(sweeps[0])
        asked = Axes(
            find_quantity(wanted.cost or COST), find_quantity(wanted.quality or first.quality)
        )
        found, table = rank_curves.sweep_curves(sweeps, asked, uri)
        tables = rebuild.sweep_curve_tables(found, table)
    else:
        board = single_board(collect_boards(uri, protocol, backbone))
        asked = pareto.find_axes(board, wanted.cost or COST, wanted.quality or board.headline)
        found = rank_curves.board_curves(board, asked)
        tables = rebuild.curve_tables(found, board)
    folder = report_folder(out)
    paths = manifest.write_manifest(tables, folder, write_curves(found, folder))
    if as_json:
        return console.as_json([_plain(p) for c in found.curves for p in c.points])
    heads = ["method", "settings", asked.cost.name, asked.quality.name, "low", "high", "seeds",
             "of"]  # fmt: skip
    rows = [
        [p.method, p.settings, _whole(p.cost), p.mean, *_interval(p), p.n, tried]
        for c in found.curves
        for p, tried in zip(c.points, c.tried, strict=True)
    ]
    console.table(heads, rows, found.title)
    console.say("  of: configurations of that size, of which validation chose the one shown")
    return console.say("written: " + ", ".join(str(p) for p in paths))


def _table(board: Board, panel: Sequence[ParetoPoint], asked: Axes) -> None:
    third = [] if asked.third is None else [asked.third.name]
    heads = ["front", "chance", "method", asked.cost.name, *third, asked.quality.name, "low",
             "high", "seeds", "like these"]  # fmt: skip
    rows = [
        ["*" if p.front else "", _percent(p.chance), p.label, _whole(p.cost),
         *([_whole(p.third)] if asked.third else []), p.mean, *_interval(p), p.n,
         _percent(p.chance_like)]
        for p in panel
    ]  # fmt: skip
    place = panel[0].dataset if len(board.datasets) > 1 else pareto.measured_on(board)
    place = pareto.measured_on(board) if place == "average" else place
    console.table(heads, rows, f"{board.protocol} on {board.backbone}, {place}", ("like these",))
    console.say("  chance: of being on the front, were the seeds others; like these: were the data")
    console.say("  sets others too (docs/pareto.md)")


def _families(measured: Sequence[dominated_share.DominatedShare], asked: Axes) -> None:
    rows = [
        [f.dataset, f.method, f.points, f"{f.share:.1%}",
         "-" if math.isnan(f.low) else f"{f.low:.1%} to {f.high:.1%}", _percent(f.chance)]
        for f in measured
    ]  # fmt: skip
    heads = ["data", "method", "points", "dominated", "95 %", "chance of most"]
    console.table(heads, rows, "how much of the plane each method dominates")
    console.say(f"  {shares_note(measured, asked)}")


def _interval(p: ParetoPoint) -> list[Any]:
    return ["-", "-"] if math.isnan(p.low) else [p.low, p.high]


def _whole(value: float) -> float | int:
    """A count as one."""
    return int(value) if value.is_integer() else value


def _percent(chance: float) -> str:
    return "-" if math.isnan(chance) else f"{chance:.0%}"


def _plain(record: Any) -> dict[str, Any]:
    return {k: _number(v) for k, v in asdict(record).items()}


def _number(value: Any) -> Any:
    """A value for JSON, which knows no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
