"""How branches of different rank at one site share the work: gates by layer, or by input.

Weights are K softmax(...) over K branches, so they start as 1 and the branches as their plain sum.
A softmax and not sigmoids: what one branch gains the others lose, so weights are shares, which can
be compared between layers, and not one more scale beside those that the branches have already.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.kit.binding.wiring import Fn, Ref
from methods.kit.contract.adapter import Adapter
from methods.kit.core.clip import Block, Tower

USAGE = "rank_usage"  # the table of the mean share of each branch, one row a layer


def layer_gates(
    adapter: Adapter,
    tower: Tower,
    blocks: Sequence[Block],
    labels: Sequence[str],
    tasks: Sequence[str] = (),
) -> list[Ref]:
    """For each branch its weights (layers,), learnt; they cost nothing, being derived.

    With ``tasks`` each data set that is trained has weights of its own.
    """
    logits = torch.zeros(*((len(tasks),) if tasks else ()), len(blocks), len(labels))
    owned = adapter.own(f"{tower.name}.gates", nn.Parameter(logits))
    parts = [(f"{name} ", owned[t]) for t, name in enumerate(tasks)] or [("", owned)]
    for name, part in parts:
        for i, block in enumerate(blocks):
            row = name + _row(block)
            adapter.report(USAGE, _share, part[i], row=row, columns=labels)
    if tasks:
        which = adapter.tracked("task", torch.zeros((), dtype=torch.long))
        owned = adapter.derive(f"{tower.name}.gates_of_task", of_task, which, owned)
    weights = adapter.derive(f"{tower.name}.gate_weights", _layer_weights, owned)
    return [weights[k] for k in range(len(labels))]


def of_task(which: Tensor, each: Tensor) -> Tensor:
    """What belongs to the task that a batch is of, out of (tasks, ...)."""
    one = torch.arange(len(each), device=each.device) == which
    return torch.tensordot(one.to(each.dtype), each, 1)


@dataclass(frozen=True)
class InputGates:
    """Soft routing of each token: softmax((x W + b_l) / temperature), with W shared by layers.

    W (width, branches) and the layers' b (branches,) start at zero. A token and not a whole input
    chooses: the mean over a text would read its padding, and that over an image would keep the
    last block from computing the pooled token alone.
    """

    router: Ref
    bias: Ref
    temperature: Ref

    @classmethod
    def own(
        cls,
        adapter: Adapter,
        tower: Tower,
        blocks: Sequence[Block],
        branches: int,
        temperature: tuple[float, float],
    ) -> "InputGates":
        name = f"{tower.name}.router"
        kept = Ref("shared.temperature")
        if kept.name not in adapter.values():
            adapter.own(kept.name, torch.tensor(temperature[0]))
            adapter.each_step(kept, lambda progress, _: torch.tensor(anneal(progress, temperature)))
        return cls(
            adapter.own(f"{name}.weight", nn.Parameter(torch.zeros(tower.width, branches))),
            adapter.own(f"{name}.bias", nn.Parameter(torch.zeros(len(blocks), branches))),
            kept,
        )

    def refs(self, layer: int) -> tuple[Ref, Ref, Ref]:
        return self.router, self.bias[layer], self.temperature


def anneal(progress: float, ends: tuple[float, float]) -> float:
    """From the first to the second by a constant factor a step."""
    start, end = ends
    return float(start * (end / start) ** progress)


def shares(x: Tensor, router: Tensor, bias: Tensor, temperature: Tensor) -> Tensor:
    """The share of each branch for each row of x: (rows, branches), summing to 1."""
    return ((x @ router + bias) / temperature).softmax(-1)


def report_usage(
    adapter: Adapter, block: Block, site: str, fn: Fn, gate: Sequence[Ref], labels: Sequence[str]
) -> None:
    """Report the mean share of each branch over all tokens that pass a block."""
    adapter.report(USAGE, fn, *gate, row=_row(block), columns=labels, site=block.site(site))


def _row(block: Block) -> str:
    return f"{block.tower}.{block.index + 1}"


def _share(logits: Tensor) -> Tensor:
    return logits.softmax(-1)


def _layer_weights(logits: Tensor) -> Tensor:
    return (logits.softmax(-1) * logits.shape[-1]).mT
