"""Parameters of an adapter, counted four ways."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from harness.model.clip_layout import ClipLayout
from methods.kit.contract.adapter import Adapter
from methods.kit.contract.method import Method, Task
from methods.kit.contract.source_weights import SourceWeights

PROMPT_TOKENS = 16  # of the placeholder prompts where only shapes matter


@dataclass(frozen=True)
class Counts:
    """Parameters of an adapter.

    trainable: what the optimizer sees. stored: what the saved adapter holds. inference: what is
    left to compute with after folding. head: the part of ``trainable`` that depends on the classes;
    it is in no tower.
    """

    trainable: int
    stored: int
    inference: int
    head: int
    by_tower: dict[str, int]
    by_part: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def count_parameters(adapter: Adapter) -> Counts:
    """Count the parameters of an adapter; works on the meta device."""
    by_tower, by_part = Counter[str](image=0, text=0, shared=0), Counter[str]()
    for name, parameter in adapter.trained().items():
        by_tower[name.split(".")[0]] += parameter.numel()
        by_part[part_name(name)] += parameter.numel()
    head = by_tower.pop("head", 0)
    return Counts(
        trainable=sum(by_part.values()),
        stored=sum(v.numel() for v in adapter.saved().values()),
        inference=0 if adapter.foldable else sum(t.numel() for t in adapter.bind().used()),
        head=head,
        by_tower=dict(by_tower),
        by_part=dict(by_part),
    )


def part_name(name: str) -> str:
    """``q.down`` for ``image.0.q.down``: a name without its tower and block number."""
    tower, *rest = name.split(".")
    kept = [piece for piece in rest if not piece.isdigit()]
    return ".".join([tower, *kept] if tower == "head" else kept)


def outline_counts(
    method: Method,
    layout: ClipLayout,
    classes: int,
    start: SourceWeights | None = None,
    tasks: Sequence[str] = (),
) -> Counts:
    """Count the parameters of a method on a model without weights."""
    with torch.device("meta"):
        return count_parameters(attach_outline(method, layout, classes, start, tasks))


def attach_outline(
    method: Method,
    layout: ClipLayout,
    classes: int,
    start: SourceWeights | None = None,
    tasks: Sequence[str] = (),
) -> Adapter:
    """Attach a method to a model without weights, on the meta device."""
    names = tuple(f"class {i}" for i in range(classes))
    with torch.device("meta"):
        tokens = torch.zeros(classes, PROMPT_TOKENS, dtype=torch.long)
        return method.attach(
            layout.clip, Task(names, "{}", tokens, start=start, tasks=tuple(tasks))
        )
