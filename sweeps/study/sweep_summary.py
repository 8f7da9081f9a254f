"""What a sweep has found so far."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sweeps.study.budget import Budget
from sweeps.study.files import write_sweep
from sweeps.study.optuna_study import FREE_ENDS, Study
from sweeps.study.sweep_plan import SweepPlan
from sweeps.study.trial import outcome_of


@dataclass(frozen=True)
class SweepSummary:
    """The best trials of a sweep and how its trials ended."""

    plan: SweepPlan
    budget: Budget
    url: str
    folder: Path
    ends: dict[str, int]  # how many trials ended how
    best: tuple[FrozenTrial, ...]  # the best trial, or the Pareto front
    audited: tuple[int, ...]  # trials that the bound would have stopped, run nevertheless
    reached: bool  # the budget is spent
    stopped: bool  # by the user

    @property
    def code(self) -> int:
        """0 done, 1 some failed, 3 incomplete."""
        if self.stopped or not self.reached:
            return 3
        return 1 if self.ends.get("failed") else 0

    @property
    def missed(self) -> set[int]:
        """Audited trials on the front."""
        return set(self.audited) & {t.number for t in self.best}

    @property
    def nothing_within_caps(self) -> bool:
        return not self.reached and bool(self.ends) and set(self.ends) <= set(FREE_ENDS)

    def winner(self) -> dict[str, Any] | None:
        """Return the settings of the first of the best trials."""
        return self.plan.decode(self.best[0].params) if self.best else None


def summarize(study: Study, budget: Budget, stopped: bool = False) -> SweepSummary:
    """Return how a sweep stands; write its files."""
    ended = study.ended()
    return SweepSummary(
        plan=study.plan,
        budget=budget,
        url=study.url,
        folder=write_sweep(study),
        ends=dict(Counter(outcome_of(study.plan, t).end for t in ended)),
        best=tuple(_best(study.plan, ended)),
        audited=tuple(t.number for t in ended if t.user_attrs.get("bound", {}).get("audited")),
        reached=study.is_reached(budget),
        stopped=stopped,
    )


def _best(plan: SweepPlan, ended: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the best complete trial (of equals the first), or the Pareto front.

    The front is in the order of the first objective, best first.
    """
    signs = [-1 if d == "maximize" else 1 for d in plan.directions]

    def losses(trial: FrozenTrial) -> list[float]:
        return [sign * value for sign, value in zip(signs, trial.values, strict=True)]

    complete = [t for t in ended if t.state == TrialState.COMPLETE]
    complete.sort(key=lambda t: (losses(t), t.number))
    if len(signs) == 1:
        return complete[:1]
    front: list[FrozenTrial] = []
    for trial in complete:
        if not front or losses(trial)[1] < losses(front[-1])[1]:
            front.append(trial)
    return front
