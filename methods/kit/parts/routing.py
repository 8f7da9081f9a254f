"""Gates that weight adapters of different rank at one site, by layer or by input.

Weights are K softmax(...) over K branches, so they start at 1 and the branches as a plain sum. A
softmax rather than sigmoids: weights are then shares, which can be compared between layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.kit.binding.wiring import Fn, Ref
from methods.kit.contract.adapter import Adapter
from methods.kit.core.clip import Block

USAGE = "rank_usage"  # table: the mean share of each branch, one row a layer


def layer_gates(
    adapter: Adapter, blocks: Sequence[Block], labels: Sequence[str], tasks: Sequence[str] = ()
) -> list[Ref]:
    """Own gates and return the weights (layers,) of each branch; they are derived once a step.

    With ``tasks``, each data set of a multi-task training has its own gates.
    """
    tower = blocks[0].tower
    logits = torch.zeros(*((len(tasks),) if tasks else ()), len(blocks), len(labels))
    owned = adapter.own(f"{tower}.gates", nn.Parameter(logits))
    parts = [(f"{name} ", owned[t]) for t, name in enumerate(tasks)] or [("", owned)]
    for name, part in parts:
        for i, block in enumerate(blocks):
            adapter.report(USAGE, _share, part[i], row=name + block_label(block), columns=labels)
    if tasks:
        task = adapter.tracked("task", torch.zeros((), dtype=torch.long))
        owned = adapter.derive(f"{tower}.gates_of_task", of_task, task, owned)
    weights = adapter.derive(f"{tower}.gate_weights", _layer_weights, owned)
    return [weights[k] for k in range(len(labels))]


def of_task(task: Tensor, values: Tensor) -> Tensor:
    """Select the values of one task from (tasks, ...)."""
    selected = torch.arange(len(values), device=values.device) == task
    return torch.tensordot(selected.to(values.dtype), values, 1)


@dataclass(frozen=True)
class InputGates:
    """Soft routing of tokens: softmax((x W + b_l) / temperature), with W shared by all layers.

    W (width, branches) and each layer's b (branches,) start at zero. Routing is by token, not by
    image or text: a mean over a text would read its padding, and a mean over an image would force
    the last block to compute all tokens instead of the pooled one.
    """

    router: Ref
    bias: Ref
    temperature: Ref

    @classmethod
    def own(
        cls,
        adapter: Adapter,
        blocks: Sequence[Block],
        branches: int,
        temperature: tuple[float, float],
    ) -> "InputGates":
        """Own the gates of the blocks of one tower; both towers share the temperature."""
        name, width = f"{blocks[0].tower}.router", blocks[0].width
        annealed = Ref("shared.temperature")
        if annealed.name not in adapter.values():
            adapter.own(annealed.name, torch.tensor(temperature[0]))
            adapter.each_step(annealed, lambda p, _: torch.tensor(anneal(p, temperature)))
        return cls(
            adapter.own(f"{name}.weight", nn.Parameter(torch.zeros(width, branches))),
            adapter.own(f"{name}.bias", nn.Parameter(torch.zeros(len(blocks), branches))),
            annealed,
        )

    def refs(self, layer: int) -> tuple[Ref, Ref, Ref]:
        return self.router, self.bias[layer], self.temperature


def anneal(progress: float, ends: tuple[float, float]) -> float:
    """Interpolate geometrically from the first to the second value."""
    start, end = ends
    return float(start * (end / start) ** progress)


def shares(x: Tensor, router: Tensor, bias: Tensor, temperature: Tensor) -> Tensor:
    """Return the share of each branch for each row of x: (rows, branches), summing to 1."""
    return ((x @ router + bias) / temperature).softmax(-1)


def report_usage(
    adapter: Adapter, block: Block, site: str, fn: Fn, gate: Sequence[Ref], labels: Sequence[str]
) -> None:
    """Report the mean share of each branch over all tokens that pass a block."""
    adapter.report(USAGE, fn, *gate, row=block_label(block), columns=labels, site=block.site(site))


def block_label(block: Block) -> str:
    """Return ``image.1`` for the first block."""
    return f"{block.tower}.{block.index + 1}"


def _share(logits: Tensor) -> Tensor:
    return logits.softmax(-1)


def _layer_weights(logits: Tensor) -> Tensor:
    return (logits.softmax(-1) * logits.shape[-1]).mT
