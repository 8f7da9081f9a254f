"""Shows the plan of a suite, or runs what is missing of it."""

from typing import Any

from harness.cli import console
from harness.run.execute import check_spec
from harness.spec.spec import Spec
from harness.tracking.ledger import open_ledger
from sweeps.suite.build import Suite
from sweeps.suite.drive import SpecList, finish_specs
from sweeps.suite.options import DriveOptions


def show_plan(suite: Suite, options: DriveOptions) -> int:
    """Print every spec with its parameters and whether it is done; return the exit code."""
    trainable = [check_spec(spec).trainable for spec in suite.specs]
    finished = set() if options.force else open_ledger(options.uri).finished()
    rows = [
        {
            "digest": spec.digest(),
            "state": "done" if spec.digest() in finished else "missing",
            "method": spec.method_name,
            "settings": _settings(spec),
            "data set": spec.data.name,
            "seed": spec.seed,
            "trainable": count,
        }
        for spec, count in zip(suite.specs, trainable, strict=True)
    ]
    if options.json:
        console.as_json({"suite": suite.name, "runs": rows})
        return 0
    missing = sum(row["state"] == "missing" for row in rows)
    title = f"{suite.name}: {len(rows)} runs, {missing} to do (nothing was run)"
    heads = ["run id", *list(rows[0])[1:]]
    console.table(heads, [list(row.values()) for row in rows], title)
    return 0


def run_suite(suite: Suite, options: DriveOptions) -> int:
    """Run what is missing; return the exit code: 0 done, 1 some failed, 3 incomplete."""
    for spec in suite.specs:
        check_spec(spec)
    wanted = SpecList(suite.name, suite.protocol, "suite", suite.note, suite.specs)
    progress = finish_specs(wanted, options)
    failed, left, total = progress.failed, progress.left, len(suite.specs)
    if options.json:
        facts: dict[str, Any] = {
            "suite": suite.name,
            "runs": total,
            "already_recorded": progress.recorded,
            "finished_now": total - progress.recorded - left,
            "failed": [{"digest": o.spec.digest(), "error": o.error} for o in failed],
            "left": left,
        }
        console.as_json(facts)
    elif left:
        console.say(
            f"{suite.name}: {total - left} of {total} runs are recorded,"
            f" {len(failed)} failed; the same command again runs what is missing"
        )
    return progress.code


def _settings(spec: Spec) -> str:
    """Return the settings that differ from the method's defaults, as words."""
    default = vars(type(spec.method)())
    differing = {k: v for k, v in vars(spec.method).items() if v != default[k]}
    return " ".join(f"{key}={value}" for key, value in differing.items())
