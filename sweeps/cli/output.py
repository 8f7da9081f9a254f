"""What a person sees of a sweep: its plan before, what it found after."""

from typing import Any

from harness.cli import console
from harness.run.execute import check_spec
from harness.spec import paths
from methods.kit.core.errors import UsageError
from sweeps.study.optuna_study import FREE_ENDS, Goal, decoded
from sweeps.study.search import Found
from sweeps.study.sweep_plan import SweepPlan


def plan(shown: SweepPlan, goal: Goal, as_json: bool) -> int:
    """Print the space, what is fixed, and the first trials with their parameters. Runs nothing."""
    facts = planned(shown, goal)
    if as_json:
        console.as_json(facts)
        return 0
    rows = [[f"search {key}", dim] for key, dim in facts["dims"].items()]
    rows += [["fixed", " ".join(facts["fixed"]) or "-"]]
    rows += [["a trial runs", ", ".join(f"{d} seed {s}" for d, s in shown.cells)]]
    aims = zip(facts["objectives"], facts["directions"], strict=True)
    rows += [["objective", ", ".join(f"{d} {n}" for n, d in aims)]]
    rows += [["caps", ", ".join(facts["caps"]) or "-"]]
    rows += [["sampler, pruner", f"{facts['sampler']}, {facts['pruner']}"]]
    rows += [["looks inside a run", facts["prune_points"]], ["until", str(goal)]]
    console.table(["sweep", shown.name], rows, title="nothing was run")
    cells = [[t["settings"], t["trainable"], t["note"]] for t in facts["first"]]
    console.table(["enqueued first", "trainable", ""], cells)
    return 0


def planned(shown: SweepPlan, goal: Goal) -> dict[str, Any]:
    """A sweep that has not begun, as plain values."""
    first = [_trial(shown, values) for values in shown.defaults()]
    return shown.as_dict() | {"goal": str(goal), "first": first}


def found(result: Found, as_json: bool, quiet: bool = False) -> int:
    """Print what a sweep found and where it lies; returns the exit code."""
    if as_json:
        console.as_json(record(result))
        return result.code
    names = list(result.plan.objectives)
    rows = [[t.number, *map(_number, t.values), _settings(result.plan, t)] for t in result.best]
    if rows and not quiet:
        title = "best trial" if len(names) == 1 else "front"
        console.table(["trial", *names, "settings"], rows, f"{result.plan.name}: {title}")
        console.say(f"  again, with its test: {result.best[0].user_attrs['command']}")
    ends = ", ".join(f"{n} {end}" for end, n in sorted(result.ends.items())) or "no trials"
    left = "" if result.reached else f"; {result.goal} not reached, the same command goes on"
    if not result.reached and set(result.ends) <= set(FREE_ENDS) and result.ends:
        left = "; nothing within the caps was found"
    console.say(f"{result.plan.name}: {ends}{left}")
    if result.audited and not quiet:
        missed = len(_missed(result))
        console.say(
            f"  of {len(result.audited)} trials that the bound would have stopped and that ran"
            f" nevertheless, {missed} entered the front"
        )
    if not quiet:
        console.say(f"  optuna-dashboard {paths.without_password(result.url)}")
        console.say(f"  ringbench report --sweep {result.plan.name}")
    return result.code


def record(result: Found) -> dict[str, Any]:
    """A sweep's outcome as plain values."""
    return result.plan.as_dict() | {
        "digest": result.plan.digest(),
        "storage": paths.without_password(result.url),
        "folder": str(result.folder),
        "goal": str(result.goal),
        "reached": result.reached,
        "ends": result.ends,
        "audited": len(result.audited),
        "missed": len(_missed(result)),
        "best": [
            {
                "trial": t.number,
                "values": dict(zip(result.plan.objectives, t.values, strict=True)),
                "overrides": t.user_attrs["overrides"],
                "command": t.user_attrs["command"],
            }
            for t in result.best
        ],
    }


def _number(value: float) -> float | int:
    return int(value) if value == int(value) and value >= 1000 else value


def _missed(result: Found) -> set[int]:
    """Audited trials on the front."""
    return set(result.audited) & {t.number for t in result.best}


def _settings(shown: SweepPlan, trial: Any) -> str:
    values = decoded(shown, trial.params)
    return " ".join(shown.overrides(values)[1 + len(shown.words) :])


def _trial(shown: SweepPlan, values: dict[str, Any]) -> dict[str, Any]:
    """A queued trial, its parameters, and whether it is above a cap."""
    words = shown.overrides(values)
    try:
        counts = check_spec(shown.specs(values)[0])
    except UsageError as error:
        return {"settings": " ".join(words[1 + len(shown.words) :]), "trainable": "-",
                "note": f"refused: {error}", "command": shown.command(values)}  # fmt: skip
    over = [
        cap for cap in shown.caps if getattr(counts, cap.name.removeprefix("params/")) > cap.limit
    ]
    return {
        "settings": " ".join(words[1 + len(shown.words) :]),
        "trainable": counts.trainable,
        "note": "above the cap" if over else "",
        "command": shown.command(values),
    }
