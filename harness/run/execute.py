"""One run: from a Spec to a Result. Nothing here writes anything down."""

import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from harness.data import split
from harness.evaluate import cost, parameters
from harness.evaluate.parameters import Counts
from harness.model import backbone, weights
from harness.model.out_of_memory import is_out_of_memory
from harness.run import source_checks
from harness.run.prepare import prepare
from harness.run.pruning import PruningRule
from harness.run.result import Result, failure
from harness.run.source_runs import SourceRun, recorded_sources
from harness.run.stages import load_stage, stage_specs
from harness.run.warm_start import outline_weights
from harness.spec.spec import Spec
from harness.train.fit import EpochRow, NonFiniteLoss
from harness.train.gradients import Outcome
from methods.kit.core.errors import UsageError

MEMORY_ADVICE = (
    "adapt fewer blocks (method.layers=top:3), say backbone.precision=bf16, or a smaller --cache"
)
Progress = Callable[[EpochRow], None]


def pick_device(wanted: str = "auto") -> torch.device:
    """The device to run on. Raises UsageError for one that is not there."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UsageError(f"--device {wanted!r}: expected auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {wanted!r}: no CUDA device is available here")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {wanted!r}: expected auto, cpu or cuda")
    return device


def check_spec(spec: Spec) -> Counts:
    """All that can be wrong with a spec before an image is decoded; returns its counts.

    Raises UsageError in one line.
    """
    source_checks.check_sources(spec)
    for stage in stage_specs(spec).values():
        check_spec(stage)
    layout = backbone.backbone_outline(spec.backbone.name)
    weights.check_weights(spec.backbone)
    classes = split.check_data(spec)
    start = recorded_sources(spec).get(spec.method.start)
    weights_of_start = outline_weights(start) if start else None
    return parameters.outline_counts(spec.method, layout, classes, weights_of_start, spec.tasks)


def execute(
    spec: Spec,
    device: str = "auto",
    progress: Progress | None = None,
    test: bool = True,
    store: Path | None = None,
    pruning: PruningRule | None = None,
) -> Result:
    """Train, select and test once. Raises UsageError for what cannot be run, NonFiniteLoss.

    ``test=False`` stops before the test split is opened: validation scores and costs, nothing else.
    ``store`` is where the stages of methods that have some are kept; without it nothing is written.
    A run that its ``pruning`` ends is a Result of status ``pruned``, without scores of its own.
    """
    started = time.time()
    run = prepare(spec, pick_device(device), past(spec, device, progress, store), started)
    goes_on = True
    with cost.measure_training(run.backbone.device) as meter:
        plans, rows = run.training(first_counted(meter))
        for row in rows:
            run.losses.extend(row.losses)
            run.tags |= row.tags
            meter.step_seconds.extend(row.step_seconds)
            if progress:
                progress(row)
            goes_on = run.looked(row, pruning, meter)
            if not goes_on:
                break
    return run.conclude(meter.metrics(), plans, test, goes_on)


def past(
    spec: Spec, device: str, progress: Progress | None, store: Path | None
) -> dict[str, SourceRun]:
    """Return the stages of a run: stored ones, or trained now; the test split stays closed."""

    def train(stage: Spec) -> SourceRun:
        result = execute(stage, device, progress, test=False, store=store)
        return SourceRun(stage, result.state, result.metrics)

    return {name: load_stage(stage, store, train) for name, stage in stage_specs(spec).items()}


def attempt(
    spec: Spec,
    device: str = "auto",
    progress: Progress | None = None,
    test: bool = True,
    store: Path | None = None,
    pruning: PruningRule | None = None,
) -> Result:
    """As :func:`execute`, but what goes wrong while running becomes a Result that says so.

    UsageError and KeyboardInterrupt are raised: the first is nobody's run, the second ends all.
    """
    started, at = time.time(), pick_device(device)
    try:
        result = execute(spec, device, progress, test, store, pruning)
        return result if test else result.without_state()  # settings are judged, not adapters
    except UsageError:
        raise
    except Exception as error:  # a run's bug must not take the other runs of a suite with it
        return failed(spec, at, started, error, test)


def failed(
    spec: Spec, device: torch.device, started: float, error: Exception, test: bool
) -> Result:
    """The record of a run that an error ended; call it while the error is handled."""
    if isinstance(error, NonFiniteLoss):
        return failure(spec, device, "failed", started, str(error), test)
    if is_out_of_memory(error):
        said = f" ({str(error).splitlines()[0]})" if str(error) else ""
        text = f"out of memory; {MEMORY_ADVICE}{said}"
        return failure(spec, device, "out_of_memory", started, text, test)
    text = f"{type(error).__name__}: {error}"
    return failure(spec, device, "failed", started, text, test, traceback.format_exc())


def first_counted(meter: cost.Meter) -> Callable[[int, Callable[[], Outcome]], Outcome]:
    """Counts the operations of the first step; the others run bare."""
    return lambda step, run: cost.count_operations(meter, run) if step == 0 else run()
