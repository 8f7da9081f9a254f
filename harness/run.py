"""One run: from a Spec to a Result. Nothing here is recorded; decoded pixels may be kept."""

import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from harness import backbone as backbones
from harness import cost, data, evaluate, protocols, versions
from harness.backbone import Backbone
from harness.classifier import Classifier
from harness.cost import Counts
from harness.data import Split
from harness.evaluate import Predictions, Table
from harness.export import adapter_bytes
from harness.fit import NonFiniteLoss, Outcome, Row, fit
from harness.spec import Spec
from methods.kit.adapter import Task
from methods.kit.errors import UsageError

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
    parts = backbones.outline(spec.backbone.name)
    backbones.check_weights(spec.backbone)
    classes = data.check(spec)
    return cost.outline(spec.method, parts, classes)


def execute(
    spec: Spec, device: str = "auto", progress: Progress | None = None, test: bool = True
) -> Result:
    """Train, select and test once. Raises UsageError for what cannot be run, NonFiniteLoss.

    ``test=False`` stops before the vault is opened: validation scores and costs, nothing else.
    """
    started = time.time()
    backbone = backbones.load(spec.backbone, pick_device(device))
    split = data.load(spec, backbone.transform)
    net = attach(spec, backbone, split)
    counts = cost.count(net.adapter)
    losses = []
    with cost.measuring(backbone.device) as meter:
        for row in fit(net, split.train, spec.train, spec.seed, _count_first(meter)):
            losses.extend(row.losses)
            meter.step_seconds.extend(row.step_seconds)
            if progress:
                progress(row)
    nets = _testers(net, split, backbone)
    metrics = val_scores([evaluate.predict(nets[part.name], part) for part in split.val])
    predictions: list[Predictions] = []
    if test:
        split.vault.close_selection()
        predictions = evaluate.test(nets, split.vault)
        metrics |= scores(predictions)
    state = net.adapter.state()
    metrics |= {
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
    return Result(
        spec=spec,
        status="finished",
        started=started,
        ended=time.time(),
        metrics=metrics,
        tags=_tags(spec, backbone.device, test)
        | split.hashes
        | {
            "backbone_hash": backbone.digest,
            "test_reads": str(split.vault.reads),
        },
        losses=losses,
        counts=counts,
        predictions=predictions,
        classnames={part.name: part.classnames for part in split.vault.parts},
        state=state if test else {},
        tables=evaluate.tables(net, split.train) if test else {},
    )


def attempt(
    spec: Spec, device: str = "auto", progress: Progress | None = None, test: bool = True
) -> Result:
    """As :func:`execute`, but what goes wrong while running becomes a Result that says so.

    UsageError and KeyboardInterrupt are raised: the first is nobody's run, the second ends all.
    """
    started = time.time()
    try:
        return execute(spec, device, progress, test)
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


def attach(spec: Spec, backbone: Backbone, split: Split) -> Classifier:
    """The method on the backbone, with initial values drawn from the run's seed alone."""
    names = split.train.classnames
    prompts = backbone.prompts(split.templates, names)
    task = Task(names, split.template, prompts.ids)
    with torch.random.fork_rng(devices=_cuda(backbone.device)), torch.device(backbone.device):
        torch.manual_seed(spec.seed)
        adapter = spec.method.attach(backbone.clip, task)
    return Classifier(backbone, adapter, prompts)


def scores(predictions: list[Predictions]) -> dict[str, float]:
    """acc/<part> for each part, acc/hmean where there is base and novel, ece/test."""
    metrics = {f"acc/{p.part}": p.accuracy for p in predictions}
    if {"acc/base", "acc/novel"} <= set(metrics):
        metrics["acc/hmean"] = protocols.harmonic_mean(metrics["acc/base"], metrics["acc/novel"])
    metrics["ece/test"] = evaluate.expected_calibration_error(predictions)
    return metrics


def val_scores(predictions: list[Predictions]) -> dict[str, float]:
    """acc/val on the classes trained on; with novel classes also acc/val_novel and their H."""
    metrics = {}
    for p in predictions:
        metrics["acc/val_novel" if p.part == "novel" else "acc/val"] = p.accuracy
    if "acc/val_novel" in metrics:
        both = protocols.harmonic_mean(metrics["acc/val"], metrics["acc/val_novel"])
        metrics["acc/val_hmean"] = both
    return metrics


def _testers(net: Classifier, split: Split, backbone: Backbone) -> dict[str, Classifier]:
    """A classifier for each label space that is tested."""
    testers = {}
    for part in split.vault.parts:
        same = part.classnames == split.train.classnames
        testers[part.name] = (
            net
            if same
            else Classifier(
                backbone, net.adapter, backbone.prompts(split.templates, part.classnames), False
            )
        )
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
