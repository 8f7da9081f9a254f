"""A suite on the ledger: what is done, what is missing, and running what is missing."""

import importlib
from typing import Any

from harness.cli import console
from harness.run.execute import check_spec
from harness.spec.spec import Spec
from harness.tracking import driver
from harness.tracking.ledger import open_ledger
from sweeps.suite.build import Suite
from sweeps.suite.workers import run_all

REPORTS = "reports.provenance.mlflow_upload"  # named as a string: sweeps draw nothing


def show(suite: Suite, uri: str | None, force: bool, as_json: bool) -> int:
    """Print the plan: every spec with its parameters and whether it is done. Runs nothing."""
    counts = {spec.digest(): check_spec(spec) for spec in suite.specs}
    done = set() if force else open_ledger(uri).finished()
    rows = [_planned(spec, counts[spec.digest()].trainable, done) for spec in suite.specs]
    if as_json:
        console.as_json({"suite": suite.name, "runs": rows})
        return 0
    columns = ["digest", "state", "method", "settings", "data set", "seed", "trainable"]
    missing = sum(row["state"] == "missing" for row in rows)
    title = f"{suite.name}: {len(rows)} runs, {missing} to do (nothing was run)"
    console.table(columns, [[row[c] for c in columns] for row in rows], title)
    return 0


def run(
    suite: Suite,
    device: str,
    uri: str | None,
    workers: int,
    force: bool,
    quiet: bool,
    as_json: bool,
    cotrain: str = "auto",
) -> int:
    """Run what is missing; returns the exit code: 0 done, 1 some failed, 3 incomplete."""
    for spec in suite.specs:
        check_spec(spec)
    ledger = open_ledger(uri)
    finished = set() if force else ledger.finished()
    todo = [spec for spec in suite.specs if spec.digest() not in finished]
    already = len(suite.specs) - len(todo)
    if not quiet and not as_json:
        console.say(f"{suite.name}: {len(suite.specs)} runs, {already} already recorded")
    parent = ledger.start_parent(suite.name, suite.protocol, "suite", suite.note)
    ended: list[driver.RunOutcome] = []
    bars = console.ProgressBars(len(todo), quiet or as_json)
    stopped = False
    with bars.shown():
        try:
            for done in run_all(todo, device, uri, parent, workers, bars, cotrain):
                ended.append(done)
        except KeyboardInterrupt:
            stopped = True
    failed = [d for d in ended if d.status not in ("finished", "running")]
    left = len(todo) - sum(d.ok for d in ended)
    ledger.end_parent(parent, complete=not left)
    if todo and not left:
        digests = [spec.digest() for spec in suite.specs]
        importlib.import_module(REPORTS).suite(uri, parent, digests)
    if as_json:
        console.as_json(
            {
                "suite": suite.name,
                "runs": len(suite.specs),
                "already_recorded": already,
                "finished_now": len(todo) - left,
                "failed": [{"digest": d.spec.digest(), "error": d.error} for d in failed],
                "left": left,
            }
        )
    elif left:
        console.say(
            f"{suite.name}: {len(suite.specs) - left} of {len(suite.specs)} runs are recorded,"
            f" {len(failed)} failed; the same command again runs what is missing"
        )
    if failed:
        return 1
    return 3 if left or stopped else 0


def _planned(spec: Spec, trainable: int, done: set[str]) -> dict[str, Any]:
    return {
        "digest": spec.digest(),
        "state": "done" if spec.digest() in done else "missing",
        "method": spec.method_name,
        "settings": settings(spec),
        "data set": spec.data.name,
        "seed": spec.seed,
        "trainable": trainable,
    }


def settings(spec: Spec) -> str:
    """What differs from the method's defaults, as words."""
    default = type(spec.method)()
    return " ".join(
        f"{name}={value}"
        for name, value in vars(spec.method).items()
        if value != getattr(default, name)
    )
