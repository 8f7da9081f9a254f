"""Running specs as a command does: skip what is done, record what happens, say how it went."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from harness import console
from harness.capture import GRAPH
from harness.home import home
from harness.ledger import Ledger, Run, open_ledger
from harness.result import Result, failure
from harness.run import attempt, check, pick_device
from harness.spec import Spec
from harness.stepper import MICRO
from harness.together import attempt_all
from harness.watch import Watch
from methods.kit.warm import ERRORS

STAGES = "stages"  # the folder of trainings that other runs begin with


@dataclass(frozen=True)
class Done:
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


def use_threads(threads: int) -> None:
    """Limit torch's threads; 0 leaves them."""
    if threads:
        torch.set_num_threads(threads)


def run(spec: Spec, device: str, force: bool, uri: str | None, bars: console.Bars) -> Done:
    """Run one spec and record it. Raises UsageError."""
    check(spec)
    ledger = open_ledger(uri)
    found = None if force else ledger.find(spec.digest())
    if found is not None:
        return from_ledger(spec, found)
    with bars.shown(), ledger.claim(spec.digest()) as mine:
        if not mine:
            return Done(spec, "running", {}, "another process runs this spec just now")
        return fresh(spec, device, ledger, bars)


def fresh(
    spec: Spec,
    device: str,
    ledger: Ledger,
    bars: console.Bars,
    parent: str | None = None,
    test: bool = True,
    watch: Watch | None = None,
) -> Done:
    """Run a spec and record how it went, also when it is stopped. Raises KeyboardInterrupt."""
    started = time.time()
    bars.start(name_of(spec))
    try:
        result = attempt(spec, device, bars.epoch, test, home() / STAGES, watch)
    except KeyboardInterrupt:
        at, why = pick_device(device), "stopped by the user"
        stopped = failure(spec, at, "cancelled", started, why, test)
        ledger.record(stopped, parent)
        raise
    delivered = ledger.record(result, parent)
    done = from_result(result, delivered)
    bars.end(sentence(done))
    return done


def fresh_all(
    specs: Sequence[Spec],
    device: str,
    ledger: Ledger,
    bars: console.Bars,
    parent: str | None = None,
    test: bool = True,
    watches: Sequence[Watch | None] = (),
) -> Iterator[Done]:
    """As :func:`fresh` for each, side by side. Raises KeyboardInterrupt."""
    if len(specs) < 2:
        for spec, watch in zip(specs, watches or [None] * len(specs), strict=True):
            yield fresh(spec, device, ledger, bars, parent, test, watch)
        return
    started, left = time.time(), {spec.digest(): spec for spec in specs}
    bars.start(names_of(specs))
    try:
        for result in attempt_all(specs, device, bars.epoch, test, home() / STAGES, watches):
            delivered = ledger.record(result, parent)
            del left[result.spec.digest()]
            done = from_result(result, delivered)
            bars.end(sentence(done))
            yield done
    except KeyboardInterrupt:
        at, why = pick_device(device), "stopped by the user"
        for spec in left.values():
            ledger.record(failure(spec, at, "cancelled", started, why, test), parent)
        raise


def names_of(specs: Sequence[Spec]) -> str:
    """Runs side by side, for a progress bar."""
    methods = ", ".join(dict.fromkeys(spec.method_name for spec in specs))
    return f"{len(specs)} runs side by side ({methods}) on {specs[0].data.name}"


def name_of(spec: Spec) -> str:
    return f"{spec.method_name} on {spec.data.name}, seed {spec.seed}"


def from_result(result: Result, delivered: bool = True) -> Done:
    return Done(
        result.spec,
        result.status,
        dict(result.metrics),
        result.error,
        delivered=delivered,
        cache=result.tags.get("cache", ""),
        steps=_steps(result.tags),
    )


def from_ledger(spec: Spec, run: Run) -> Done:
    error, cache, steps = run.tags.get("error", ""), run.tags.get("cache", ""), _steps(run.tags)
    return Done(spec, run.status, run.metrics, error, run.id, found=True, cache=cache, steps=steps)


def _steps(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: tags[key] for key in (MICRO, GRAPH) if key in tags}


def sentence(done: Done) -> str:
    """One line about a run: its accuracies, or why there are none."""
    head = name_of(done.spec)
    if not done.ok:
        return f"{head}: {done.status}: {done.error}"
    parts = [
        f"{key.removeprefix('acc/')} {value:.2f}"
        for key, value in done.metrics.items()
        if key.startswith("acc/")
    ]
    seconds = done.metrics.get("time/train_seconds", 0.0)
    shown = f"{head}: {', '.join(parts)} ({seconds:.1f} s"
    shown += f", {console.count_text(done.metrics.get('params/trainable', 0))} trainable"
    left = [v for k, v in done.metrics.items() if k.startswith(f"{ERRORS}/")]
    if left:
        shown += f", started from {done.spec.method.start[:16]} with errors up to {max(left):.0%}"
    shown += ")"
    if done.found:
        shown += " [already recorded]"
    if not done.delivered:
        shown += " [the tracking store is down; kept in the spool]"
    return shown


def show(done: Done, as_json: bool, quiet: bool) -> int:
    """Print how a run ended, unless its progress did; returns the exit code."""
    if as_json:
        console.as_json(
            {
                "digest": done.spec.digest(),
                "status": done.status,
                "already_recorded": done.found,
                "delivered": done.delivered,
                "error": done.error,
                "metrics": done.metrics,
                "cache": done.cache,
                "steps": dict(done.steps),
                "spec": done.spec.as_dict(),
            }
        )
    elif done.found or done.status == "running" or (quiet and not done.ok):
        console.say(sentence(done))
    if done.cache and not as_json and not quiet:
        console.say(done.cache)
    if done.steps and not as_json and not quiet:
        console.say("; ".join(_said(key, value) for key, value in done.steps.items()))
    return 0 if done.ok else 1


def _said(key: str, value: str) -> str:
    if key == MICRO:
        return f"memory ran out: batches passed in parts of at most {value} images, the same steps"
    return f"recorded steps: {value}"


def plan(spec: Spec, as_json: bool) -> int:
    """Print what a run would be."""
    counts = check(spec)
    if as_json:
        facts = {"digest": spec.digest(), "spec": spec.as_dict(), "parameters": counts.as_dict()}
        console.as_json(facts)
        return 0
    rows = [[key, str(value)] for key, value in spec.flat().items()]
    rows += [[f"parameters, {k}", f"{v:,}"] for k, v in vars(counts).items() if isinstance(v, int)]
    console.table(["setting", "value"], rows, title=f"run {spec.digest()} (nothing was run)")
    return 0
