"""Parameters of an adapter, counted four ways."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from harness.model import clip_layout
from methods.kit.contract.adapter import Adapter
from methods.kit.contract.method import Method, Task
from methods.kit.contract.source_weights import SourceWeights

PROMPT_TOKENS = 16  # stands in for the prompts where only shapes matter


@dataclass(frozen=True)
class Counts:
    """Parameters of an adapter.

    trainable: what the optimiser sees. stored: what the saved adapter holds. inference: what is
    left to compute with after everything that folds is folded. head: the part of ``trainable``
    that depends on the classes; it is in no tower.
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
    trained = {name: p.numel() for name, p in adapter.trained().items()}
    by_tower = {
        tower: sum(n for name, n in trained.items() if name.split(".")[0] == tower)
        for tower in ("image", "text", "shared")
    }
    by_part: dict[str, int] = {}
    for name, n in trained.items():
        by_part[part_name(name)] = by_part.get(part_name(name), 0) + n
    return Counts(
        trainable=sum(trained.values()),
        stored=sum(v.numel() for v in adapter.saved().values()),
        inference=0 if adapter.foldable else sum(t.numel() for t in adapter.bind().used()),
        head=sum(n for name, n in trained.items() if name.startswith("head")),
        by_tower=by_tower,
        by_part=by_part,
    )


def part_name(name: str) -> str:
    """``q.down`` for ``image.0.q.down``: a name without its tower and block number."""
    tower, *rest = name.split(".")
    kept = [piece for piece in rest if not piece.isdigit()]
    return ".".join([tower, *kept] if tower == "head" else kept)


def outline_counts(
    method: Method,
    parts: clip_layout.ClipLayout,
    classes: int,
    start: SourceWeights | None = None,
    tasks: Sequence[str] = (),
) -> Counts:
    """The counts of a method on a model without its numbers."""
    with torch.device("meta"):
        return count_parameters(attach_outline(method, parts, classes, start, tasks))


def attach_outline(
    method: Method,
    parts: clip_layout.ClipLayout,
    classes: int,
    start: SourceWeights | None = None,
    tasks: Sequence[str] = (),
) -> Adapter:
    """A method on a model without its numbers (on the meta device)."""
    with torch.device("meta"):
        names = tuple(f"class {i}" for i in range(classes))
        tokens = torch.zeros(classes, PROMPT_TOKENS, dtype=torch.long)
        task = Task(names, "{}", tokens, start=start, tasks=tuple(tasks))
        return method.attach(parts.clip, task)
