"""What is recorded of a run, and the scores in it."""

import json
import time
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from harness.evaluate.parameters import Counts
from harness.evaluate.predict import Predictions, Table
from harness.run.pruning import Look
from harness.spec import environment
from harness.spec.spec import Spec

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


def tags(spec: Spec, device: torch.device, test: bool) -> dict[str, str]:
    commit, dirty = environment.git_state()
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
        "device": environment.device_name(device),
        "versions": json.dumps(environment.library_versions()),
    }
