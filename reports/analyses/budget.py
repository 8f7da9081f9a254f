"""What is best within a budget: ``--at 50k``, read for methods, each with its best configuration.

Of a method's configurations within the budget the one counts that validation chooses; test
accuracy compares methods and never settings of one. The chance of being the best is that of the
method in this comparison.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.spec.quantities import Quantity
from methods.kit.core.errors import UsageError
from reports.analyses.pareto import Axes, ParetoPoint, bootstrap_draws
from reports.results.board import Board
from reports.results.selection import best_by_validation, configuration_title

UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


@dataclass(frozen=True)
class BudgetResult:
    """The methods that fit a budget, best first, each with its chance of being the best."""

    limit: float
    best: tuple[tuple[ParetoPoint, float], ...]
    chosen: bool  # whether validation chose among the configurations of each method


def parse_budget(word: str) -> float:
    """``50k``, ``1.5M``, ``50_000``: a number. Raises UsageError."""
    match = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?|\.\d+)([kmg]?)", word.strip().lower())
    if match is None:
        raise UsageError(f"--at {word!r}: expected a number, such as 50k, 1.5M or 50_000")
    return float(match[1].replace("_", "")) * UNITS[match[2]]


def best_within_budget(
    board: Board, found: Sequence[ParetoPoint], asked: Axes, budget: float
) -> BudgetResult:
    """The methods within a budget of the first quantity. Raises UsageError where none is."""
    sign = asked.cost.sign
    inside = [p for p in found if sign * p.cost <= sign * budget]
    if not inside:
        ends = [p.cost for p in found]
        edge = min(ends) if sign > 0 else max(ends)
        raise UsageError(
            f"--at {budget:,.6g}: nothing is {_side(asked.cost)} that; the nearest is {edge:,.6g}"
        )
    kept, chosen = _by_method(board, inside)
    moves = bootstrap_draws(board, kept, asked)
    quality = np.array([p.mean for p in kept]) + moves.seeds[..., -1]  # (draw, method)
    score = -asked.quality.sign * quality
    chances = (score >= score.max(1, keepdims=True)).mean(0)
    if len(kept) > 1 and not moves.known.any():
        chances = np.full(len(kept), math.nan)
    order = sorted(range(len(kept)), key=lambda i: asked.quality.sign * kept[i].mean)
    return BudgetResult(budget, tuple((kept[i], float(chances[i])) for i in order), chosen)


def budget_sentence(reading: BudgetResult, asked: Axes) -> str:
    """At 50,000 trainable parameters the best is LoRA (rank=4): 64.22 % (95 % 63.75 to 64.69)."""
    (first, chance), *rest = reading.best
    unit = f" {asked.quality.unit}" if asked.quality.unit else ""
    text = (
        f"with {_side(asked.cost)} {_amount(reading.limit, asked.cost)} the best is"
        f" {configuration_title(first.method, first.settings)}:"
        f" {asked.quality.title} {first.mean:.2f}{unit}"
    )
    seeds = f"{first.n} seed{'s' * (first.n > 1)}"
    known = not math.isnan(first.low)
    text += f" (95 % {first.low:.2f} to {first.high:.2f}, {seeds})" if known else f" ({seeds})"
    if not rest:
        return f"{text}; no other method fits"
    if math.isnan(chance):
        return f"{text}; how sure that is a single seed does not say"
    others = ", ".join(
        f"{configuration_title(p.method, p.settings)} {c:.0%}" for p, c in rest[:3] if c >= 0.005
    )
    return f"{text}; chance of being the best {chance:.0%}" + (f", {others}" if others else "")


def _by_method(board: Board, inside: Sequence[ParetoPoint]) -> tuple[list[ParetoPoint], bool]:
    """One point a method, the one that validation chooses; all of a method without validation
    accuracies in common."""
    kept: list[ParetoPoint] = []
    chosen = True
    for method in sorted({p.method for p in inside}):
        mine = [p for p in inside if p.method == method]
        if len(mine) > 1:
            cells = board.cells[board.cells["group"].isin([p.group for p in mine])]
            best = best_by_validation(cells)
            winner = set(cells[cells["configuration"] == best]["group"])
            chosen &= best is not None
            mine = [p for p in mine if p.group in winner] or mine
        kept += mine
    return kept, chosen


def _side(cost: Quantity) -> str:
    return "at most" if cost.direction == "minimize" else "at least"


def _amount(value: float, cost: Quantity) -> str:
    if cost.name.startswith("params/"):
        return f"{value:,.0f} {cost.title}"
    return f"{value:,.6g} {cost.unit} of {cost.title}".replace("  ", " ")
