"""Runs specs as a command does: skips recorded runs, records results, summarizes them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

from harness.run.execute import check_spec, execute_all, pick_device
from harness.run.pruning import PruningRule
from harness.run.result import failure
from harness.spec import quantities
from harness.spec.paths import home_folder
from harness.spec.spec import Spec
from harness.tracking.ledger import Ledger, open_ledger
from harness.tracking.run_record import Run
from harness.train.fit import EpochRow
from harness.train.replay import GRAPH_TAG
from harness.train.step import MICRO_BATCH_TAG
from methods.kit.ring.initialise import ERRORS

STAGES = "stages"  # the folder of prerequisite stages


class RunProgress(Protocol):
    """Where the progress of runs is shown (harness/cli/console.py)."""

    def shown(self) -> AbstractContextManager[object]: ...
    def start(self, name: str) -> None: ...
    def epoch(self, row: EpochRow) -> None: ...
    def end(self, line: str) -> None:
        """Take the summary of a run that ended."""


@dataclass(frozen=True)
class RunOutcome:
    """How a spec ended: run just now, recorded before, or running in another process."""

    spec: Spec
    status: str
    metrics: dict[str, float]
    error: str = ""
    run_id: str = ""
    recorded: bool = False  # before this command
    delivered: bool = True
    cache: str = ""  # what was computed once, and what it saved
    steps: Mapping[str, str] = field(default_factory=dict)  # tags on how steps were computed

    @property
    def ok(self) -> bool:
        return self.status == "finished"


def run(spec: Spec, device: str, force: bool, uri: str | None, bars: RunProgress) -> RunOutcome:
    """Run one spec and record it, unless it is recorded. Raises UsageError."""
    check_spec(spec)
    ledger = open_ledger(uri)
    recorded = None if force else ledger.find(spec.digest())
    if recorded is not None:
        return from_ledger(spec, recorded)
    with bars.shown(), ledger.claim(spec.digest()) as mine:
        if not mine:
            return RunOutcome(spec, "running", {}, "another process runs this spec just now")
        (outcome,) = run_and_record([spec], device, ledger, bars)
        return outcome


def run_and_record(
    specs: Sequence[Spec],
    device: str,
    ledger: Ledger,
    bars: RunProgress,
    parent: str | None = None,
    test: bool = True,
    pruning_rules: Sequence[PruningRule | None] = (),
) -> Iterator[RunOutcome]:
    """Co-train runs and record each, also those that are interrupted. Raises KeyboardInterrupt."""
    if not specs:
        return
    started, left = time.time(), {spec.digest(): spec for spec in specs}
    bars.start(group_title(specs))
    store = home_folder() / STAGES
    try:
        for result in execute_all(specs, device, bars.epoch, test, store, pruning_rules):
            del left[result.spec.digest()]
            delivered = ledger.record(result, parent)
            outcome = RunOutcome(
                result.spec, result.status, result.metrics, result.error, delivered=delivered
            )
            outcome = _with_notes(outcome, result.tags)
            bars.end(summary_line(outcome))
            yield outcome
    except KeyboardInterrupt:
        at, why = pick_device(device), "stopped by the user"
        for spec in left.values():
            ledger.record(failure(spec, at, "cancelled", started, why, test), parent)
        raise


def group_title(specs: Sequence[Spec]) -> str:
    """Return the title of a progress bar for one run or several."""
    if len(specs) == 1:
        return run_title(specs[0])
    methods = ", ".join(dict.fromkeys(spec.method_name for spec in specs))
    return f"{len(specs)} co-trained runs ({methods}) on {specs[0].data.name}"


def run_title(spec: Spec) -> str:
    return f"{spec.method_name} on {spec.data.name}, seed {spec.seed}"


def from_ledger(spec: Spec, run: Run) -> RunOutcome:
    """Return the outcome of a recorded run."""
    error = run.tags.get("error", "")
    outcome = RunOutcome(spec, run.status, run.metrics, error, run.id, recorded=True)
    return _with_notes(outcome, run.tags)


def _with_notes(outcome: RunOutcome, tags: Mapping[str, str]) -> RunOutcome:
    steps = {key: tags[key] for key in (MICRO_BATCH_TAG, GRAPH_TAG) if key in tags}
    return replace(outcome, cache=tags.get("cache", ""), steps=steps)


def summary_line(outcome: RunOutcome) -> str:
    """Return one line about a run: its accuracies, or why there are none."""
    spec, metrics, title = outcome.spec, outcome.metrics, run_title(outcome.spec)
    if not outcome.ok:
        return f"{title}: {outcome.status}: {outcome.error}"
    scores = [f"{k[4:]} {value:.2f}" for k, value in metrics.items() if k.startswith("acc/")]
    facts = [f"{metrics.get('time/train_seconds', 0.0):.1f} s"]
    facts += [f"{quantities.count_text(metrics.get('params/trainable', 0))} trainable"]
    errors = [value for key, value in metrics.items() if key.startswith(f"{ERRORS}/")]
    if errors:
        facts += [f"started from {spec.method.start[:16]} with errors up to {max(errors):.0%}"]
    line = f"{title}: {', '.join(scores)} ({', '.join(facts)})"
    if outcome.recorded:
        line += " [already recorded]"
    if not outcome.delivered:
        line += " [the tracking store is down; stored on disk until it answers]"
    return line
