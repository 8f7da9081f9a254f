"""Running specs as a command does: skip what is done, record what happens, say how it went."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from harness.run.execute import check_spec, execute_all, pick_device
from harness.run.pruning import PruningRule
from harness.run.result import Result, failure
from harness.spec import quantities
from harness.spec.paths import home_folder
from harness.spec.spec import Spec
from harness.tracking.ledger import Ledger, open_ledger
from harness.tracking.run_record import Run
from harness.train.fit import EpochRow
from harness.train.replay import GRAPH_TAG
from harness.train.step import MICRO_BATCH_TAG
from methods.kit.ring.initialise import ERRORS

STAGES = "stages"  # the folder of trainings that other runs begin with


class RunProgress(Protocol):
    """Where the progress of runs is shown (harness/cli/console.py)."""

    def shown(self) -> AbstractContextManager[object]:
        """Show the progress while inside."""

    def start(self, name: str) -> None:
        """A run begins."""

    def epoch(self, row: EpochRow) -> None:
        """An epoch of the present run is over."""

    def end(self, line: str) -> None:
        """A run is over; ``line`` says how it went."""


@dataclass(frozen=True)
class RunOutcome:
    """How a spec ended: run just now, found in the ledger, or running elsewhere."""

    spec: Spec
    status: str
    metrics: dict[str, float]
    error: str = ""
    run_id: str = ""
    found: bool = False
    delivered: bool = True
    cache: str = ""  # what was computed once, and what it saved
    steps: Mapping[str, str] = field(default_factory=dict)  # tags on how steps were computed

    @property
    def ok(self) -> bool:
        return self.status == "finished"


def run(spec: Spec, device: str, force: bool, uri: str | None, bars: RunProgress) -> RunOutcome:
    """Run one spec and record it. Raises UsageError."""
    check_spec(spec)
    ledger = open_ledger(uri)
    found = None if force else ledger.find(spec.digest())
    if found is not None:
        return from_ledger(spec, found)
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
            outcome = from_result(result, ledger.record(result, parent))
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


def from_result(result: Result, delivered: bool = True) -> RunOutcome:
    return RunOutcome(
        result.spec,
        result.status,
        dict(result.metrics),
        result.error,
        delivered=delivered,
        cache=result.tags.get("cache", ""),
        steps=_steps(result.tags),
    )


def from_ledger(spec: Spec, run: Run) -> RunOutcome:
    error, cache, steps = run.tags.get("error", ""), run.tags.get("cache", ""), _steps(run.tags)
    return RunOutcome(
        spec, run.status, run.metrics, error, run.id, found=True, cache=cache, steps=steps
    )


def _steps(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: tags[key] for key in (MICRO_BATCH_TAG, GRAPH_TAG) if key in tags}


def summary_line(done: RunOutcome) -> str:
    """One line about a run: its accuracies, or why there are none."""
    head = run_title(done.spec)
    if not done.ok:
        return f"{head}: {done.status}: {done.error}"
    parts = [
        f"{key.removeprefix('acc/')} {value:.2f}"
        for key, value in done.metrics.items()
        if key.startswith("acc/")
    ]
    seconds = done.metrics.get("time/train_seconds", 0.0)
    shown = f"{head}: {', '.join(parts)} ({seconds:.1f} s"
    shown += f", {quantities.count_text(done.metrics.get('params/trainable', 0))} trainable"
    left = [v for k, v in done.metrics.items() if k.startswith(f"{ERRORS}/")]
    if left:
        shown += f", started from {done.spec.method.start[:16]} with errors up to {max(left):.0%}"
    shown += ")"
    if done.found:
        shown += " [already recorded]"
    if not done.delivered:
        shown += " [the tracking store is down; kept in the spool]"
    return shown
