"""Drives a list of specs to completion: finds what is recorded, runs the rest, reports."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.cli import console
from harness.spec.spec import Spec
from harness.tracking.driver import RunOutcome
from harness.tracking.ledger import open_ledger
from sweeps.suite.options import DriveOptions
from sweeps.suite.workers import run_specs

UPLOAD = "reports.provenance.mlflow_upload"  # named as a string: sweeps do not import reports


@dataclass(frozen=True)
class SpecList:
    """Specs that are run below one MLflow run."""

    name: str
    protocol: str
    kind: str  # suite or sweep
    note: str
    specs: tuple[Spec, ...]


@dataclass(frozen=True)
class SpecsProgress:
    """How far a list of specs is, and what was run now."""

    specs: tuple[Spec, ...]
    recorded: int  # before
    outcomes: tuple[RunOutcome, ...]
    stopped: bool  # by the user

    @property
    def failed(self) -> list[RunOutcome]:
        return [o for o in self.outcomes if o.status not in ("finished", "running")]

    @property
    def left(self) -> int:
        return len(self.specs) - self.recorded - sum(o.ok for o in self.outcomes)

    @property
    def code(self) -> int:
        """0 done, 1 some failed, 3 incomplete."""
        if self.failed:
            return 1
        return 3 if self.left or self.stopped else 0


def finish_specs(wanted: SpecList, options: DriveOptions) -> SpecsProgress:
    """Run the specs that are not recorded yet, or all with ``force``; Ctrl-C ends it early."""
    ledger = open_ledger(options.uri)
    finished = set() if options.force else ledger.finished()
    missing = [spec for spec in wanted.specs if spec.digest() not in finished]
    recorded = len(wanted.specs) - len(missing)
    if not options.silent:
        console.say(f"{wanted.name}: {len(wanted.specs)} runs, {recorded} already recorded")
    parent = ledger.start_parent(wanted.name, wanted.protocol, wanted.kind, wanted.note)
    outcomes: list[RunOutcome] = []
    bars = console.ProgressBars(len(missing), options.silent)

    def run() -> None:
        for outcome in run_specs(missing, options, parent, bars):
            outcomes.append(outcome)

    stopped = interrupted(run, bars)
    progress = SpecsProgress(wanted.specs, recorded, tuple(outcomes), stopped)
    ledger.end_parent(parent, complete=not progress.left)
    if missing and not progress.left:
        upload_report("suite", options.uri, parent, [spec.digest() for spec in wanted.specs])
    return progress


def interrupted(run: Callable[[], None], bars: console.ProgressBars) -> bool:
    """Run with progress bars; return whether the user stopped it."""
    with bars.shown():
        try:
            run()
        except KeyboardInterrupt:
            return True
    return False


def upload_report(kind: str, uri: str | None, parent: str, content: Sequence[str] | str) -> None:
    """Store tables and pictures with an MLflow run: of a suite's runs, or of a sweep by name."""
    upload: Any = getattr(importlib.import_module(UPLOAD), kind)
    upload(uri, parent, content)
