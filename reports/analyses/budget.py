"""The best method within a budget, such as ``--at 50k``.

Of a method's configurations within the budget, validation chooses one; test accuracy compares
methods, never settings of one method. Probabilities are for the methods of this comparison.
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
    """The methods within a budget, best first, each with its probability of being the best.

    ``chosen`` says whether validation chose among the configurations of each method.
    """

    limit: float
    best: tuple[tuple[ParetoPoint, float], ...]
    chosen: bool


def parse_budget(word: str) -> float:
    """Return the number of ``50k``, ``1.5M`` or ``50_000``. Raises UsageError."""
    match = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?|\.\d+)([kmg]?)", word.strip().lower())
    if match is None:
        raise UsageError(f"--at {word!r}: expected a number, such as 50k, 1.5M or 50_000")
    return float(match[1].replace("_", "")) * UNITS[match[2]]


def best_within_budget(
    board: Board, points: Sequence[ParetoPoint], axes: Axes, budget: float
) -> BudgetResult:
    """Return the methods within a budget of the cost. Raises UsageError where none is."""
    sign = axes.cost.sign
    inside = [p for p in points if sign * p.cost <= sign * budget]
    if not inside:
        nearest = min((p.cost for p in points), key=lambda cost: sign * cost)
        raise UsageError(
            f"--at {budget:,.6g}: nothing is {_bound(axes.cost)} that; the nearest is"
            f" {nearest:,.6g}"
        )
    shown, chosen = _one_per_method(board, inside)
    draws = bootstrap_draws(board, shown, axes)
    quality = np.array([p.mean for p in shown]) + draws.seeds[..., -1]  # (draw, method)
    score = -axes.quality.sign * quality
    chances = (score >= score.max(1, keepdims=True)).mean(0)
    if len(shown) > 1 and not draws.known.any():
        chances = np.full(len(shown), math.nan)
    order = sorted(range(len(shown)), key=lambda i: axes.quality.sign * shown[i].mean)
    return BudgetResult(budget, tuple((shown[i], float(chances[i])) for i in order), chosen)


def budget_sentence(result: BudgetResult, axes: Axes) -> str:
    """Return a sentence: with at most 50,000 trainable parameters the best is LoRA (rank=4): ..."""
    (first, chance), *rest = result.best
    unit = f" {axes.quality.unit}" if axes.quality.unit else ""
    text = (
        f"with {_bound(axes.cost)} {_amount(result.limit, axes.cost)} the best is"
        f" {configuration_title(first.method, first.settings)}:"
        f" {axes.quality.title} {first.mean:.2f}{unit}"
    )
    seeds = f"{first.n} seed{'s' * (first.n > 1)}"
    known = not math.isnan(first.low)
    text += f" (95 % {first.low:.2f} to {first.high:.2f}, {seeds})" if known else f" ({seeds})"
    if not rest:
        return f"{text}; no other method fits"
    if math.isnan(chance):
        return f"{text}; a single seed does not say how sure that is"
    others = [
        f"{configuration_title(p.method, p.settings)} {c:.0%}" for p, c in rest[:3] if c >= 0.005
    ]
    return ", ".join([f"{text}; probability of being the best {chance:.0%}", *others])


def _one_per_method(board: Board, points: Sequence[ParetoPoint]) -> tuple[list[ParetoPoint], bool]:
    """Return the point of each method that validation chooses, and whether it could.

    All points of a method remain where they have no validation accuracies in common.
    """
    shown: list[ParetoPoint] = []
    chosen = True
    for method in sorted({p.method for p in points}):
        mine = [p for p in points if p.method == method]
        if len(mine) > 1:
            cells = board.cells[board.cells["group"].isin([p.group for p in mine])]
            best = best_by_validation(cells)
            groups = set(cells[cells["configuration"] == best]["group"])
            chosen &= best is not None
            mine = [p for p in mine if p.group in groups] or mine
        shown += mine
    return shown, chosen


def _bound(cost: Quantity) -> str:
    return "at most" if cost.direction == "minimize" else "at least"


def _amount(value: float, cost: Quantity) -> str:
    if cost.name.startswith("params/"):
        return f"{value:,.0f} {cost.title}"
    return f"{value:,.6g} {cost.unit} of {cost.title}".replace("  ", " ")
