"""One run: from a Spec to a Result. Nothing here writes anything down."""

import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
from torch import Tensor

from harness import backbone as backbones
from harness import cost, data, evaluate, merged, protocols, stages, tasks, versions
from harness import plan as plans
from harness import start as starts
from harness.backbone import Backbone
from harness.classifier import Classifier
from harness.cost import Counts
from harness.data import Split
from harness.evaluate import Predictions, Table
from harness.export import adapter_bytes
from harness.fit import NonFiniteLoss, Outcome, Row, StepHook, fit
from harness.spec import Spec
from harness.watch import Look, Watch
from methods.kit.errors import UsageError
from methods.kit.start import Start

Status = Literal["finished", "failed", "pruned", "cancelled", "out_of_memory"]
SELECTION = "last"  # the rule by which a trained state is chosen: the last one
ONLY_VAL = "val"  # the tag of a run that served to choose settings: its test split stayed shut


@dataclass(frozen=True)
class Result:
    """All that is recorded of a run. Accuracies and ECE are in per cent."""

    spec: Spec
    status: Status
    started: float  # seconds since 1970
    ended: float
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)  # one a step
    counts: Counts | None = None
    predictions: list[Predictions] = field(default_factory=list)
    classnames: dict[str, tuple[str, ...]] = field(default_factory=dict)
    state: dict[str, Tensor] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)  # what the method reports of itself
    looks: list[Look] = field(default_factory=list)  # validation scores on the way
    error: str = ""
    trace: str = ""


Progress = Callable[[Row], None]


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


def check(spec: Spec) -> Counts:
    """All that can be wrong with a spec before an image is decoded; returns its counts.

    Raises UsageError in one line.
    """
    stages.check(spec)
    for first in stages.specs(spec).values():
        check(first)
    parts = backbones.outline(spec.backbone.name)
    backbones.check_weights(spec.backbone)
    classes = data.check(spec)
    source = starts.source_of(spec)
    if source is not None:
        starts.check(spec, source)
    merged.check(spec, merged.of(spec))
    return cost.outline(spec.method, parts, classes, starts.outline(source), spec.tasks)


def execute(
    spec: Spec,
    device: str = "auto",
    progress: Progress | None = None,
    test: bool = True,
    store: Path | None = None,
    watch: Watch | None = None,
) -> Result:
    """Train, select and test once. Raises UsageError for what cannot be run, NonFiniteLoss.

    ``test=False`` stops before the vault is opened: validation scores and costs, nothing else.
    ``store`` is where the stages of methods that have some are kept; without it nothing is written.
    A run that its ``watch`` ends is a Result of status ``pruned``, without scores of its own.
    """
    started = time.time()
    pasts = {
        name: stages.kept(first, store, partial(_stage, first, device, progress, store))
        for name, first in stages.specs(spec).items()
    }
    backbone = backbones.load(spec.backbone, pick_device(device))
    split = data.load(spec, backbone.transform)
    source = starts.source_of(spec)
    tags = {} if source is None else starts.check(spec, source)
    made_of = merged.of(spec)
    tags |= merged.check(spec, made_of)
    merged.check_weights(made_of, backbone)
    began = time.perf_counter()
    earlier = {name: past.state for name, past in (pasts | made_of).items()}
    net = attach(spec, backbone, split, earlier, starts.load(source, backbone))
    begun = {} if source is None else starts.costs(source, net.adapter, began)
    course = tasks.course(net, split) if spec.tasks else None
    nets = _testers(net, split, backbone) if course is None else course.nets
    counts = cost.count(net.adapter)
    losses: list[float] = []
    looks: list[Look] = []
    goes_on = True
    with cost.measuring(backbone.device) as meter:
        plan, rows = _training(spec, net, split, _count_first(meter), course)
        for row in rows:
            losses.extend(row.losses)
            meter.step_seconds.extend(row.step_seconds)
            if progress:
                progress(row)
            epoch = row.epoch + 1
            if watch and epoch in watch.after and epoch < row.epochs:
                with meter.paused(), _untrained(net):
                    looks.append(Look(epoch, _validated(nets, split)))
                    goes_on = watch.goes_on(looks[-1])
            if not goes_on:
                break
    metrics: dict[str, float] = {}
    predictions: list[Predictions] = []
    test = test and goes_on
    if goes_on:
        metrics |= _validated(nets, split)
    if test:
        split.vault.close_selection()
        predictions = evaluate.test(nets, split.vault)
        metrics |= scores(predictions, [part.name for part in split.vault.parts if part.main])
    state = net.adapter.state()
    metrics |= _costs(counts, state, meter)
    metrics |= {"cache/bytes": plan.bytes, "cache/saved_percent": plan.saved}
    metrics |= stages.costs(pasts) | begun | merged.costs(made_of)
    return Result(
        spec=spec,
        status="finished" if goes_on else "pruned",
        started=started,
        ended=time.time(),
        metrics=metrics,
        tags=_tags(spec, backbone.device, test)
        | split.hashes
        | tags
        | {
            "backbone_hash": backbone.digest,
            "test_reads": str(split.vault.reads),
            "test_parts": json.dumps(
                {
                    part.name: {"classes": len(part.classnames), "images": len(part)}
                    for part in split.vault.parts
                }
            ),
            "cache": plan.sentence(),
        },
        losses=losses,
        counts=counts,
        predictions=predictions,
        classnames={part.name: part.classnames for part in split.vault.parts},
        state=state if goes_on else {},
        tables=_tables(net, split, course) if test else {},
        looks=looks,
        error="" if goes_on else f"ended after epoch {looks[-1].epoch} of {spec.train.epochs}",
    )


def _stage(spec: Spec, device: str, progress: Progress | None, store: Path | None) -> stages.Past:
    """Train a stage; the test split stays shut."""
    result = execute(spec, device, progress, test=False, store=store)
    return stages.Past(result.state, result.metrics)


def _training(
    spec: Spec, net: Classifier, split: Split, around: StepHook, course: tasks.Course | None
) -> tuple[plans.Plan | tasks.Plans, Iterator[Row]]:
    """What is computed once, and the epochs to come."""
    cfg, seed, views = spec.train, spec.seed, spec.data.views
    if course is not None:
        several = course.plans(cfg, seed, views)
        return several, course.fit(cfg, seed, around, several)
    plan = plans.make(net, split.train, cfg, seed, views)
    return plan, fit(net, split.train, cfg, seed, around, plan)


def _tables(net: Classifier, split: Split, course: tasks.Course | None) -> dict[str, Table]:
    return evaluate.tables(net, split.train) if course is None else course.tables()


def _costs(counts: Counts, state: dict[str, Tensor], meter: cost.Meter) -> dict[str, float]:
    return {
        "params/trainable": counts.trainable,
        "params/stored": counts.stored,
        "params/inference": counts.inference,
        "params/head": counts.head,
        "bytes/adapter": adapter_bytes(state),
        "time/train_seconds": meter.train_seconds,
        "time/step_ms": meter.step_ms,
        "memory/peak_bytes": meter.peak_bytes,
        "flops/step": meter.step_flops,
    }


def attempt(
    spec: Spec,
    device: str = "auto",
    progress: Progress | None = None,
    test: bool = True,
    store: Path | None = None,
    watch: Watch | None = None,
) -> Result:
    """As :func:`execute`, but what goes wrong while running becomes a Result that says so.

    UsageError and KeyboardInterrupt are raised: the first is nobody's run, the second ends all.
    """
    started = time.time()
    try:
        result = execute(spec, device, progress, test, store, watch)
        return result if test else replace(result, state={})  # settings are judged, not adapters
    except (UsageError, KeyboardInterrupt):
        raise
    except NonFiniteLoss as error:
        return failure(spec, device, "failed", started, str(error), test)
    except torch.cuda.OutOfMemoryError as error:
        text = f"out of memory; lower train.batch_size ({str(error).splitlines()[0]})"
        return failure(spec, device, "out_of_memory", started, text, test)
    except MemoryError:
        text = "out of memory; lower train.batch_size"
        return failure(spec, device, "out_of_memory", started, text, test)
    except Exception as error:  # a run's bug must not take the other runs of a suite with it
        text = f"{type(error).__name__}: {error}"
        result = failure(spec, device, "failed", started, text, test)
        return replace(result, trace=traceback.format_exc())


def failure(
    spec: Spec, device: str, status: Status, started: float, error: str, test: bool = True
) -> Result:
    """The record of a run that did not finish."""
    tags = _tags(spec, pick_device(device), test)
    return Result(spec, status, started, time.time(), tags=tags, error=error)


def attach(
    spec: Spec,
    backbone: Backbone,
    split: Split,
    earlier: Mapping[str, Mapping[str, Tensor]] | None = None,
    start: Start | None = None,
) -> Classifier:
    """The method on the backbone, with initial values drawn from the run's seed alone.

    ``earlier``: what the method's stages trained; ``start``: what the run learnt that it begins
    with.
    """
    prompts = tasks.prompts_of(backbone, split)
    task = replace(tasks.task_of(split, prompts), earlier=earlier or {}, start=start)
    with torch.random.fork_rng(devices=_cuda(backbone.device)), torch.device(backbone.device):
        torch.manual_seed(spec.seed)
        adapter = spec.method.attach(backbone.clip, task)
    return Classifier(backbone, adapter, prompts[0])


def scores(predictions: list[Predictions], main: Sequence[str]) -> dict[str, float]:
    """acc/<part> for each part, their H or the mean over targets, ece/test of the main parts.

    acc/mean is the mean over data sets that are trained together; acc/hmean_all is H where both
    halves are told apart among all names.
    """
    metrics = {f"acc/{p.part}": p.accuracy for p in predictions}
    halves = [(f"acc/base{s}", f"acc/novel{s}", f"acc/hmean{s}") for s in ("", "_all")]
    for base, novel, both in halves:
        if {base, novel} <= set(metrics):
            metrics[both] = protocols.harmonic_mean(metrics[base], metrics[novel])
    beside = [p.accuracy for p in predictions if p.part not in main]
    if beside and "acc/base" not in metrics:
        metrics["acc/targets"] = fmean(beside)
    own = [p for p in predictions if p.part in main]
    if len(own) > 1 and "acc/base" not in metrics:
        metrics["acc/mean"] = fmean(p.accuracy for p in own)
    metrics["ece/test"] = evaluate.expected_calibration_error(own)
    return metrics


def val_scores(predictions: list[Predictions]) -> dict[str, float]:
    """acc/val on the classes trained on; with novel classes also acc/val_novel and their H.

    Of data sets that are trained together the mean, and each one's acc/val_<name>.
    """
    metrics = {}
    if len(predictions) > 1 and "novel" not in {p.part for p in predictions}:
        each = {f"acc/val_{p.part}": p.accuracy for p in predictions}
        return {"acc/val": fmean(each.values()), **each}
    for p in predictions:
        metrics["acc/val_novel" if p.part == "novel" else "acc/val"] = p.accuracy
    if "acc/val_novel" in metrics:
        both = protocols.harmonic_mean(metrics["acc/val"], metrics["acc/val_novel"])
        metrics["acc/val_hmean"] = both
    return metrics


def _validated(nets: Mapping[str, Classifier], split: Split) -> dict[str, float]:
    """Scores on the validation images, each part by the classifier of its label space."""
    return val_scores([evaluate.predict(nets[part.name], part, again=True) for part in split.val])


@contextmanager
def _untrained(net: Classifier) -> Iterator[None]:
    """The adapter as it is after training, for a look in between."""
    net.adapter.eval()
    try:
        yield
    finally:
        net.adapter.train()


def _testers(net: Classifier, split: Split, backbone: Backbone) -> dict[str, Classifier]:
    """A classifier for each label space that is tested."""
    testers = {}
    for part in split.vault.parts:
        known = part.classnames == split.train.classnames
        testers[part.name] = net
        if not known or part.templates != split.templates:
            prompts = backbone.prompts(part.templates, part.classnames)
            testers[part.name] = Classifier(backbone, net.adapter, prompts, known)
    return testers


def _count_first(meter: cost.Meter) -> Callable[[int, Callable[[], Outcome]], Outcome]:
    """Counts the operations of the first step; the others run bare."""
    return lambda step, run: cost.counted(meter, run) if step == 0 else run()


def _tags(spec: Spec, device: torch.device, test: bool) -> dict[str, str]:
    commit, dirty = versions.git()
    return {
        "method": spec.method_name,
        "dataset": spec.data.name,
        "protocol": spec.protocol,
        "backbone": spec.backbone.name,
        "shots": str(spec.data.shots),
        "seed": str(spec.seed),
        "digest": spec.digest(),
        "configuration": spec.configuration(),
        "selection": SELECTION if test else ONLY_VAL,
        "git_commit": commit,
        "git_dirty": str(dirty).lower(),
        "device": versions.device_name(device),
        "versions": json.dumps(versions.libraries()),
    }


def _cuda(device: torch.device) -> list[Any]:
    return [device] if device.type == "cuda" else []
