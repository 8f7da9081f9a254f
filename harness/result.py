"""What is recorded of a run, and the scores in it."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Literal

import torch
from torch import Tensor

from harness import evaluate, protocols, versions
from harness.cost import Counts
from harness.evaluate import Predictions, Table
from harness.spec import Spec
from harness.watch import Look

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

    def without_state(self) -> "Result":
        """The same without what was trained."""
        return replace(self, state={})


def failure(
    spec: Spec,
    device: torch.device,
    status: Status,
    started: float,
    error: str,
    test: bool = True,
    trace: str = "",
) -> Result:
    """The record of a run that did not finish."""
    found = tags(spec, device, test)
    return Result(spec, status, started, time.time(), tags=found, error=error, trace=trace)


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


def tags(spec: Spec, device: torch.device, test: bool) -> dict[str, str]:
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
