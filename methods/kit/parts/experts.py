"""Experts of which every training pass takes one at random, and agreement between two passes."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.kit.binding.randomness import DrawFn
from methods.kit.binding.wiring import Ref
from methods.kit.contract.adapter import Adapter
from methods.kit.contract.step import Step
from methods.kit.parts.consistency import divergence


def route(adapter: Adapter, name: str, layers: int, experts: int) -> Ref:
    """Shares (layers, experts): in training one expert a layer for the whole batch, else a mean."""
    rest = torch.full((layers, experts), 1 / experts)
    return adapter.draw(name, rest, one_of(layers, experts))


def one_of(layers: int, experts: int) -> DrawFn:
    """Draws one expert in each layer: one-hot rows (layers, experts)."""

    def draw(_: float, rng: torch.Generator) -> Tensor:
        chosen = torch.randint(experts, (layers,), generator=rng, device="cpu")
        return F.one_hot(chosen, experts).float()

    return draw


def mix(shares: Tensor, stack: Tensor) -> Tensor:
    """The weighted sum of experts (experts, ...)."""
    return torch.tensordot(shares, stack, 1)


def agree(adapter: Adapter, weight: float, detach: bool = False) -> None:
    """Penalise what two passes over a batch say differently: weight * (KL + KL the other way) / 2.

    ``detach``: each direction trains the pass that it measures, not the one it measures against.
    """
    if weight:
        adapter.penalise(partial(disagreement, weight=weight, detach=detach), second_pass=True)


def disagreement(step: Step, weight: float, detach: bool) -> Tensor:
    assert step.second_logits is not None
    one, two = step.logits, step.second_logits
    still_one, still_two = (one.detach(), two.detach()) if detach else (one, two)
    # KL(p1 || p2) trains p1 where p2 is held, as in AdaMix; `divergence` has the first last
    return weight * 0.5 * (divergence(still_two, one) + divergence(still_one, two))
