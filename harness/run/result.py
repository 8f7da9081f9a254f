"""The result of a run: everything that is recorded of it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from harness.run.pruning import Checkpoint
from harness.spec import environment

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from harness.evaluate.parameters import Counts
    from harness.evaluate.predict import Predictions, Table
    from harness.spec.spec import Spec

Status = Literal["finished", "failed", "pruned", "cancelled", "out_of_memory"]
SELECTION = "last"  # the tag `selection` of a tested run: the last trained state is taken
ONLY_VAL = "val"  # the tag `selection` of a run that chose settings: its test split stayed closed


@dataclass(frozen=True)
class Result:
    """Everything that is recorded of a run. Accuracies and ECE are in per cent."""

    spec: Spec
    status: Status
    started: float  # seconds since 1970
    ended: float
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)  # one per step
    counts: Counts | None = None
    predictions: list[Predictions] = field(default_factory=list)
    classnames: dict[str, tuple[str, ...]] = field(default_factory=dict)
    state: dict[str, Tensor] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)  # reported by the method
    checkpoints: list[Checkpoint] = field(default_factory=list)
    error: str = ""
    trace: str = ""

    def without_state(self) -> Result:
        """Return the result without the trained tensors."""
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
    """Return the result of a run that did not finish."""
    known = tags(spec, device, test)
    return Result(spec, status, started, time.time(), tags=known, error=error, trace=trace)


def tags(spec: Spec, device: torch.device, test: bool) -> dict[str, str]:
    """Return the tags that every result has."""
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
