"""Carries out ``ringbench sweep``: one sweep, or an equal-budget comparison."""

from collections.abc import Sequence
from dataclasses import dataclass

from methods.kit.core.errors import UsageError
from sweeps.space.definition import space_names
from sweeps.study.budget import TRIALS, Budget, read_budget
from sweeps.study.equal_budget import Comparison, build_comparison, read_candidate
from sweeps.study.request import SweepRequest, build_plan
from sweeps.study.sweep_plan import SweepPlan
from sweeps.suite.options import DriveOptions


@dataclass(frozen=True)
class ComparisonRequest:
    """The options of an equal-budget comparison, as they were typed."""

    methods: str | None
    candidates: Sequence[str]
    budget: str | None
    fresh: int
    trials: int | None  # belongs to a single sweep

    @property
    def given(self) -> bool:
        return self.methods is not None or bool(self.candidates) or self.budget is not None


def plan_sweep(
    words: Sequence[str], request: SweepRequest, trials: int | None
) -> tuple[SweepPlan, Budget]:
    """Build the sweep and the budget that a command describes. Raises UsageError."""
    space, *settings = words or ("",)
    if not space or "=" in space:
        raise UsageError(f"sweep: name a space first, one of {', '.join(space_names())}")
    plan = build_plan(space, settings, request)
    if request.options.sampler != "grid":
        return plan, Budget(trials=trials or TRIALS)
    points = len(plan.queue())
    return plan, Budget(trials=min(trials or points, points))


def plan_comparison(
    words: Sequence[str], request: SweepRequest, asked: ComparisonRequest
) -> Comparison:
    """Build the equal-budget comparison that a command describes. Raises UsageError."""
    if asked.methods is None and not asked.candidates:
        raise UsageError("--budget: goes with --methods A,B; for one sweep say --trials")
    if asked.budget is None or asked.trials is not None:
        raise UsageError("--methods: say what each may spend, --budget 30 or --budget 20m")
    names = [*(name for name in (asked.methods or "").split(",") if name), *asked.candidates]
    if not names:
        raise UsageError("--methods: name at least one method")
    candidates = [read_candidate(name) for name in names]
    return build_comparison(candidates, words, request, read_budget(asked.budget), asked.fresh)


def sweep(plan: SweepPlan, budget: Budget, options: DriveOptions, dry_run: bool) -> int:
    """Run or show one sweep; return the exit code."""
    from harness.run import grouping
    from sweeps.cli import output
    from sweeps.study.search_loop import run_sweep

    grouping.parse_size(options.cotrain)
    if dry_run:
        return output.show_plan(plan, budget, options.json)
    return output.show_summary(run_sweep(plan, budget, options), options)


def compare(comparison: Comparison, options: DriveOptions, dry_run: bool) -> int:
    """Run or show an equal-budget comparison; return the exit code."""
    from harness.cli import console
    from harness.run import grouping
    from sweeps.cli import output
    from sweeps.study.comparison_run import run_comparison

    grouping.parse_size(options.cotrain)
    if dry_run and options.json:
        console.as_json([output.planned(p, comparison.budget) for p in comparison.plans])
        return 0
    if dry_run:
        return max(output.show_plan(p, comparison.budget, False) for p in comparison.plans)
    result = run_comparison(comparison, options)
    output.show_comparison(comparison, result, options.json)
    return result.code
