"""Runs, from specs to results: one, or several that are co-trained. Nothing here is recorded."""

import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from harness.data import split
from harness.evaluate import parameters
from harness.evaluate.parameters import Counts
from harness.model import backbone, weights
from harness.model.out_of_memory import is_out_of_memory
from harness.run import source_checks
from harness.run.conclude import conclude
from harness.run.cotrain import (
    GROUP_SIZE_TAG,
    Progress,
    RunTraining,
    train_all,
    training_costs,
)
from harness.run.prepare import PreparedRun, prepare
from harness.run.pruning import PruningRule
from harness.run.result import Result, failure
from harness.run.source_runs import SourceRun, recorded_sources
from harness.run.stages import load_stage, stage_specs
from harness.run.warm_start import outline_weights
from harness.spec.spec import Spec
from harness.train.cache_plan import CachePlan
from harness.train.fit import NonFiniteLoss
from methods.kit.core.errors import UsageError

MEMORY_ADVICE = (
    "adapt fewer blocks (method.layers=top:3), say backbone.precision=bf16, or a smaller --cache"
)


def pick_device(name: str = "auto") -> torch.device:
    """Return the device to run on. Raises UsageError for one that is not available."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name!r}: expected auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {name!r}: no CUDA device is available here")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name!r}: expected auto, cpu or cuda")
    return device


def check_spec(spec: Spec) -> Counts:
    """Check all that can be wrong with a spec before an image is decoded; return its counts.

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


def prepare_run(
    spec: Spec, device: str = "auto", progress: Progress | None = None, store: Path | None = None
) -> PreparedRun:
    """Prepare a run; its stages are read from ``store`` or trained now, untested."""
    started = time.time()

    def train(stage: Spec) -> SourceRun:
        result = execute(stage, device, progress, test=False, store=store)
        return SourceRun(stage, result.state, result.metrics)

    at = pick_device(device)
    stages = {name: load_stage(stage, store, train) for name, stage in stage_specs(spec).items()}
    return prepare(spec, at, stages, started)


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
    ``store`` is the folder of prerequisite stages; without it nothing is written. A run that
    ``pruning`` ends is a result of status ``pruned``, without scores of its own.
    """
    training = RunTraining(prepare_run(spec, device, progress, store), pruning)
    plans, meter = train_all([training], progress)
    if training.error:
        raise training.error
    return conclude(training, training_costs([training], meter)[0], plans, test)


def execute_all(
    specs: Sequence[Spec],
    device: str = "auto",
    progress: Progress | None = None,
    test: bool = True,
    store: Path | None = None,
    pruning_rules: Sequence[PruningRule | None] = (),
) -> Iterator[Result]:
    """Co-train runs and yield their results, in any order; a failure becomes a result that says so.

    A run that cannot be prepared fails alone. When memory runs out, halves are tried; after any
    other error each run is trained alone. Raises UsageError and KeyboardInterrupt. Untested results
    have no trained state: settings are compared, not adapters.
    """
    rules, trainings = list(pruning_rules) or [None] * len(specs), []
    for spec, rule in zip(specs, rules, strict=True):
        started = time.time()
        try:
            trainings.append(RunTraining(prepare_run(spec, device, progress, store), rule))
        except UsageError:
            raise
        except Exception as error:  # a run's bug must not take the others with it
            yield _failed(spec, device, started, error, test)
    if not trainings:
        return
    try:
        plans, meter = train_all(trainings, progress)
    except UsageError:
        raise
    except Exception as error:
        failed = _failed(trainings[0].run.spec, device, trainings[0].run.started, error, test)
        size = max(1, len(trainings) // 2) if is_out_of_memory(error) else 1
    else:
        for training, costs in zip(trainings, training_costs(trainings, meter), strict=True):
            if len(trainings) > 1:
                training.tags[GROUP_SIZE_TAG] = str(len(trainings))
            yield _conclude(training, costs, plans, device, test)
        return
    # outside of the handler, which keeps alive what filled the memory
    if len(trainings) == 1:
        yield failed
        return
    specs, rules = [t.run.spec for t in trainings], [t.pruning for t in trainings]
    trainings.clear()
    for part in (slice(i, i + size) for i in range(0, len(specs), size)):
        yield from execute_all(specs[part], device, progress, test, store, rules[part])


def _conclude(
    training: RunTraining,
    costs: dict[str, float],
    plans: Sequence[CachePlan],
    device: str,
    test: bool,
) -> Result:
    """Return the result of a training; untested ones have no trained state."""
    try:
        if training.error:
            raise training.error
        result = conclude(training, costs, plans, test)
    except UsageError:
        raise
    except Exception as error:
        return _failed(training.run.spec, device, training.run.started, error, test)
    return result if test else result.without_state()


def _failed(spec: Spec, device: str, started: float, error: Exception, test: bool) -> Result:
    """Return the result of a run that an error ended; called while the error is handled."""
    at = pick_device(device)
    if isinstance(error, NonFiniteLoss):
        return failure(spec, at, "failed", started, str(error), test)
    if is_out_of_memory(error):
        detail = f" ({str(error).splitlines()[0]})" if str(error) else ""
        text = f"out of memory; {MEMORY_ADVICE}{detail}"
        return failure(spec, at, "out_of_memory", started, text, test)
    text = f"{type(error).__name__}: {error}"
    return failure(spec, at, "failed", started, text, test, traceback.format_exc())
