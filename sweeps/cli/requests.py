"""What ``ringbench sweep`` was asked, made into a sweep or a contest, run and shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.cli import console
from harness.tracking.driver import RunOutcome
from methods.kit.core.errors import UsageError
from sweeps.cli import output
from sweeps.space import definition
from sweeps.study import equal_budget, search, sweep_plan
from sweeps.study.optuna_study import TRIALS, Goal, queue
from sweeps.study.search import Where
from sweeps.study.sweep_plan import SweepOptions


@dataclass(frozen=True)
class Request:
    """The words and options that sweeps and contests share."""

    words: tuple[str, ...]
    preset: str
    objective: tuple[str, ...]
    cap: tuple[str, ...]
    options: SweepOptions
    name: str | None


def sweep(request: Request, trials: int | None, where: Where, dry_run: bool, as_json: bool) -> int:
    """One sweep; returns the exit code."""
    first, *rest = request.words or ("",)
    if not first or "=" in first:
        raise UsageError(f"sweep: name a space first, one of {', '.join(definition.names())}")
    plan = sweep_plan.build(
        first, rest, request.preset, request.objective, request.cap, request.options, request.name,
        where.uri,
    )  # fmt: skip
    goal = Goal(trials=trials or TRIALS)
    if request.options.sampler == "grid":
        points = len(queue(plan))
        goal = Goal(trials=min(trials or points, points))
    if dry_run:
        return output.plan(plan, goal, as_json)
    return output.found(search.run(plan, goal, where), as_json, where.quiet)


def contest(
    request: Request,
    methods: str | None,
    candidates: Sequence[str],
    budget: str | None,
    trials: int | None,
    fresh: int,
    where: Where,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Methods on equal budgets; returns the exit code."""
    if methods is None and not candidates:
        raise UsageError("--budget: goes with --methods A,B; for one sweep say --trials")
    if budget is None or trials is not None:
        raise UsageError("--methods: say what each may spend, --budget 30 or --budget 20m")
    words = list(request.words)
    wanted = words.pop(0) if words and "=" not in words[0] else None
    names = [*(name for name in (methods or "").split(",") if name), *candidates]
    if not names:
        raise UsageError("--methods: name at least one method")
    asked = equal_budget.build(
        [equal_budget.read_candidate(name) for name in names], wanted, words, request.preset,
        request.objective, request.cap, request.options, equal_budget.budget(budget), fresh,
        request.name, where.uri,
    )  # fmt: skip
    if dry_run:
        if as_json:
            console.as_json([output.planned(p, asked.goal) for p in asked.plans])
            return 0
        return max(output.plan(p, asked.goal, False) for p in asked.plans)
    tested, done, code = equal_budget.run(asked, where)
    _show(asked, tested, done, as_json)
    return code


def _show(
    asked: equal_budget.EqualBudgetComparison,
    tested: list[equal_budget.Tested],
    done: list[RunOutcome],
    as_json: bool,
) -> None:
    protocol = asked.plans[0].protocol
    metrics = equal_budget.TESTED[protocol]
    heads = ["method", asked.plans[0].objectives[0], *metrics, "trainable", "runs"]
    rows = equal_budget.table(tested, done, protocol)
    if as_json:
        shown = [dict(zip(heads, row, strict=True)) for row in rows]
        sweeps = [output.record(t.sweep) for t in tested]
        console.as_json({"contest": asked.name, "seeds": asked.seeds, "table": shown,
                         "sweeps": sweeps})  # fmt: skip
        return
    if rows:
        seeds = ", ".join(str(s) for s in asked.seeds)
        how = f"tested with seeds {seeds}" if seeds else "on validation data, not tested"
        console.table(heads, rows, f"{asked.name}: {asked.goal} each, {how}")
    for one in tested:
        if one.sweep.best:
            words = one.sweep.best[0].user_attrs["overrides"]
            searched = [w for w in words if w.partition("=")[0] in one.sweep.plan.space.keys]
            console.say(f"  best of {one.candidate.label}: {' '.join(searched)}")
    named = asked.name if asked.seeds else asked.plans[0].name  # nothing to compare, but curves
    console.say(f"  with intervals and tuning curves: ringbench report --sweep {named}")
