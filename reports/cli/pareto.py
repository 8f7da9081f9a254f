"""``ringbench pareto``: fronts and curves of the ledger, written and printed."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.analyses.dominated_share import DominatedShare
    from reports.analyses.pareto import Axes, ParetoPoint
    from reports.results.board import Board

COST = "params/trainable"


@dataclass(frozen=True)
class ParetoRequest:
    """The options of ``ringbench pareto`` as typed."""

    cost: str | None
    quality: str | None
    third: str | None
    at: tuple[str, ...]
    per_data: bool
    cloud: tuple[str, ...]
    protocol: str | None
    backbone: str | None
    out: Path | None
    uri: str | None
    as_json: bool


def show_front(request: ParetoRequest) -> None:
    """Write and print the front of a board, dominated shares, and the best within budgets."""
    from harness.cli import console
    from harness.spec.paths import report_folder
    from methods.kit.core.errors import UsageError
    from reports.analyses import budget, pareto
    from reports.analyses.trial_cloud import trial_cloud
    from reports.cli.output import say_written, single_board
    from reports.figures.pareto import save_pareto
    from reports.provenance import manifest, rebuild

    limits = [budget.parse_budget(word) for word in request.at]
    board = single_board(request.uri, request.protocol, request.backbone)
    cost, quality = request.cost or COST, request.quality or board.headline
    axes = pareto.find_axes(board, cost, quality, request.third)
    cloud = trial_cloud(request.cloud, board, axes) if request.cloud else None
    front = rebuild.measure_front(board, axes, request.per_data)
    points = front.panels[0]
    if request.per_data:
        points = pareto.pareto_points(board, axes, probabilities=False)
    if not points:
        raise UsageError(f"nothing has a mean of {cost} and {quality}: its grid is incomplete")
    results = [budget.best_within_budget(board, points, axes, limit) for limit in limits]
    folder = report_folder(request.out)
    figures = save_pareto(front.panels, board, axes, cloud, folder)
    paths = manifest.write_manifest(rebuild.front_tables(front, board), folder, figures)
    if request.as_json:
        shown = {
            "points": [_plain(p) for panel in front.panels for p in panel],
            "families": [_plain(m) for m in front.measured],
            "at": [
                {"limit": r.limit, "chosen_by_validation": r.chosen,
                 "methods": [_plain(p) | {"best_chance": _number(c)} for p, c in r.best]}
                for r in results
            ],
        }  # fmt: skip
        return console.as_json(shown)
    for panel in front.panels:
        _print_points(board, panel, axes)
    _print_shares(front.measured, axes)
    for result in results:
        console.out.print(budget.budget_sentence(result, axes), soft_wrap=True, markup=False)
        if not result.chosen:
            console.say("  no validation accuracies in common: all configurations are candidates")
    return say_written(paths)


def show_curves(request: ParetoRequest, sweeps: Sequence[str]) -> None:
    """Write and print accuracy against size, a curve per method; for sweeps on validation data."""
    from harness.cli import console
    from harness.spec.paths import report_folder
    from harness.spec.quantities import find_quantity
    from reports.analyses import rank_curves
    from reports.analyses.pareto import Axes, find_axes
    from reports.cli.output import say_written, single_board
    from reports.figures.rank_curves import save_curves
    from reports.provenance import manifest, rebuild
    from reports.results.sweep_results import load_sweep

    cost = request.cost or COST
    if sweeps:
        quality = request.quality or load_sweep(sweeps[0]).quality
        axes = Axes(find_quantity(cost), find_quantity(quality))
        curves, table = rank_curves.sweep_curves(sweeps, axes, request.uri)
        tables = rebuild.sweep_curve_tables(curves, table)
    else:
        board = single_board(request.uri, request.protocol, request.backbone)
        axes = find_axes(board, cost, request.quality or board.headline)
        curves = rank_curves.board_curves(board, axes)
        tables = rebuild.curve_tables(curves, board)
    folder = report_folder(request.out)
    paths = manifest.write_manifest(tables, folder, save_curves(curves, folder))
    if request.as_json:
        return console.as_json([_plain(p) for c in curves.curves for p in c.points])
    heads = ["method", "settings", cost, axes.quality.name, "low", "high", "seeds", "of"]
    rows = [
        [p.method, p.settings, _whole(p.cost), p.mean, *_interval(p), p.n, tried]
        for c in curves.curves
        for p, tried in zip(c.points, c.tried, strict=True)
    ]
    console.table(heads, rows, curves.title)
    console.say("  of: configurations of that size, of which validation chose the one shown")
    return say_written(paths)


def _print_points(board: "Board", panel: "Sequence[ParetoPoint]", axes: "Axes") -> None:
    from harness.cli import console
    from reports.analyses.pareto import measured_on
    from reports.results.board import AVERAGE

    third = [] if axes.third is None else [axes.third.name]
    heads = ["front", "chance", "method", axes.cost.name, *third, axes.quality.name, "low", "high",
             "seeds", "like these"]  # fmt: skip
    rows = [
        ["*" if p.front else "", _percent(p.chance), p.label, _whole(p.cost),
         *([_whole(p.third)] if third else []), p.mean, *_interval(p), p.n,
         _percent(p.chance_like)]
        for p in panel
    ]  # fmt: skip
    dataset = panel[0].dataset
    place = measured_on(board) if dataset == AVERAGE else dataset
    console.table(heads, rows, f"{board.protocol} on {board.backbone}, {place}", ("like these",))
    console.say("  chance: probability of being on the front, for other seeds; like these: for")
    console.say("  other seeds and data sets (docs/pareto.md)")


def _print_shares(measured: "Sequence[DominatedShare]", axes: "Axes") -> None:
    from harness.cli import console
    from reports.tables.pareto import shares_note

    rows = [
        [m.dataset, m.method, m.points, f"{m.share:.1%}",
         "-" if math.isnan(m.low) else f"{m.low:.1%} to {m.high:.1%}", _percent(m.chance)]
        for m in measured
    ]  # fmt: skip
    heads = ["data", "method", "points", "dominated", "95 %", "P(largest)"]
    console.table(heads, rows, "share of the plane that each method dominates")
    console.say(f"  {shares_note(measured, axes)}")


def _interval(p: "ParetoPoint") -> list[Any]:
    return ["-", "-"] if math.isnan(p.low) else [p.low, p.high]


def _whole(value: float) -> float | int:
    """Return a whole number as an integer."""
    return int(value) if value.is_integer() else value


def _percent(probability: float) -> str:
    return "-" if math.isnan(probability) else f"{probability:.0%}"


def _plain(record: Any) -> dict[str, Any]:
    return {k: _number(v) for k, v in asdict(record).items()}


def _number(value: Any) -> Any:
    """Return a value for JSON, which has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
