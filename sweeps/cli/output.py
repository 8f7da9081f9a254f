"""What ``ringbench sweep`` prints: the plan of a sweep before it runs, its results after."""

from typing import Any

from harness.cli import console
from harness.run.execute import check_spec
from harness.spec.paths import without_password
from harness.spec.protocols import DEFINITIONS
from methods.kit.core.errors import UsageError
from sweeps.study.budget import Budget
from sweeps.study.comparison_run import ComparisonResult, result_rows
from sweeps.study.equal_budget import Comparison
from sweeps.study.sweep_plan import SweepPlan
from sweeps.study.sweep_summary import SweepSummary
from sweeps.suite.options import DriveOptions


def show_plan(plan: SweepPlan, budget: Budget, as_json: bool) -> int:
    """Print the space, the fixed settings, and the first trials with their parameters."""
    facts = planned(plan, budget)
    if as_json:
        console.as_json(facts)
        return 0
    objectives = zip(plan.directions, plan.objectives, strict=True)
    rows = [[f"search {key}", dim] for key, dim in facts["dims"].items()]
    rows += [
        ["fixed", " ".join(plan.words) or "-"],
        ["a trial runs", ", ".join(f"{data} seed {seed}" for data, seed in plan.cells)],
        ["objective", ", ".join(f"{direction} {name}" for direction, name in objectives)],
        ["caps", ", ".join(facts["caps"]) or "-"],
        ["sampler, pruner", f"{plan.options.sampler}, {plan.options.pruner}"],
        ["checkpoints inside a run", plan.checkpoints],
        ["budget", str(budget)],
    ]
    console.table(["sweep", plan.name], rows, title="nothing was run")
    first = [[trial["settings"], trial["trainable"], trial["note"]] for trial in facts["first"]]
    console.table(["first trials", "trainable", ""], first)
    return 0


def planned(plan: SweepPlan, budget: Budget) -> dict[str, Any]:
    """Return a sweep that has not begun as plain values."""
    first = [_planned_trial(plan, values) for values in plan.initial_trials()]
    return plan.as_dict() | {"goal": str(budget), "first": first}


def show_summary(summary: SweepSummary, options: DriveOptions) -> int:
    """Print what a sweep found and where it is stored; return the exit code."""
    if options.json:
        console.as_json(as_record(summary))
        return summary.code
    plan, names, ends = summary.plan, list(summary.plan.objectives), summary.ends
    if summary.best and not options.quiet:
        rows = [
            [t.number, *map(_number, t.values), " ".join(plan.sampled_words(plan.decode(t.params)))]
            for t in summary.best
        ]
        title = "best trial" if len(names) == 1 else "Pareto front"
        console.table(["trial", *names, "settings"], rows, f"{plan.name}: {title}")
        console.say(f"  again, with its test: {summary.best[0].user_attrs['command']}")
    left = "" if summary.reached else f"; {summary.budget} not reached, the same command goes on"
    if summary.nothing_within_caps:
        left = "; nothing within the caps was found"
    counts = ", ".join(f"{n} {end}" for end, n in sorted(ends.items())) or "no trials"
    console.say(f"{plan.name}: {counts}{left}")
    if not options.quiet:
        if summary.audited:
            console.say(
                f"  of {len(summary.audited)} trials that the bound would have stopped and that ran"
                f" nevertheless, {len(summary.missed)} entered the front"
            )
        console.say(f"  optuna-dashboard {without_password(summary.url)}")
        console.say(f"  ringbench report --sweep {plan.name}")
    return summary.code


def as_record(summary: SweepSummary) -> dict[str, Any]:
    """Return what a sweep found as plain values."""
    plan = summary.plan
    return plan.as_dict() | {
        "digest": plan.digest(),
        "storage": without_password(summary.url),
        "folder": str(summary.folder),
        "goal": str(summary.budget),
        "reached": summary.reached,
        "ends": summary.ends,
        "audited": len(summary.audited),
        "missed": len(summary.missed),
        "best": [
            {
                "trial": t.number,
                "values": dict(zip(plan.objectives, t.values, strict=True)),
                "overrides": t.user_attrs["overrides"],
                "command": t.user_attrs["command"],
            }
            for t in summary.best
        ],
    }


def show_comparison(comparison: Comparison, result: ComparisonResult, as_json: bool) -> None:
    """Print the final table of a comparison and the best settings of each candidate."""
    plan = comparison.plans[0]
    heads = ["method", plan.objectives[0], *DEFINITIONS[plan.protocol].tested, "trainable", "runs"]
    rows = result_rows(result, plan.protocol)
    if as_json:
        console.as_json(
            {
                "comparison": comparison.name,
                "seeds": comparison.seeds,
                "table": [dict(zip(heads, row, strict=True)) for row in rows],
                "sweeps": [as_record(tuned.sweep) for tuned in result.tuned],
            }
        )
        return
    if rows:
        seeds = ", ".join(str(s) for s in comparison.seeds)
        how = f"tested with seeds {seeds}" if seeds else "on validation data, not tested"
        console.table(heads, rows, f"{comparison.name}: {comparison.budget} each, {how}")
    for tuned in result.tuned:
        keys = tuned.sweep.plan.space.keys
        searched = [w for w in tuned.overrides if w.partition("=")[0] in keys]
        if searched:
            console.say(f"  best of {tuned.candidate.label}: {' '.join(searched)}")
    named = comparison.name if comparison.seeds else plan.name  # untested: tuning curves alone
    console.say(f"  with intervals and tuning curves: ringbench report --sweep {named}")


def _number(value: float) -> float | int:
    return int(value) if value == int(value) and value >= 1000 else value


def _planned_trial(plan: SweepPlan, values: dict[str, Any]) -> dict[str, Any]:
    """Return a queued trial, its parameters, and whether it is above a cap."""
    trainable: int | str = "-"
    try:
        counts = check_spec(plan.specs(values)[0])
        trainable = counts.trainable
        sizes = ((getattr(counts, cap.name.removeprefix("params/")), cap) for cap in plan.caps)
        note = "above the cap" if any(size > cap.limit for size, cap in sizes) else ""
    except UsageError as error:
        note = f"refused: {error}"
    settings = " ".join(plan.sampled_words(values))
    command = plan.command(values)
    return {"settings": settings, "trainable": trainable, "note": note, "command": command}
