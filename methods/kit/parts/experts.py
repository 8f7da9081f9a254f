"""Stochastic experts: one per training pass, drawn at random, and agreement between two passes."""

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
    """Return shares (layers, experts): one expert a layer in training, otherwise their mean."""
    mean = torch.full((layers, experts), 1 / experts)
    return adapter.draw(name, mean, one_of(layers, experts))


def one_of(layers: int, experts: int) -> DrawFn:
    """Return a draw of one expert in each layer: one-hot rows (layers, experts)."""

    def draw(_: float, rng: torch.Generator) -> Tensor:
        chosen = torch.randint(experts, (layers,), generator=rng, device="cpu")
        return F.one_hot(chosen, experts).float()

    return draw


def mix(shares: Tensor, stack: Tensor) -> Tensor:
    """Return the weighted sum of experts (experts, ...)."""
    return torch.tensordot(shares, stack, 1)


def penalise_disagreement(adapter: Adapter, weight: float, detach: bool = False) -> None:
    """Add weight * (KL(p1 || p2) + KL(p2 || p1)) / 2 of two passes over a batch to the loss.

    ``detach``: each KL trains its first distribution only.
    """
    if weight:
        adapter.penalise(partial(disagreement, weight=weight, detach=detach), second_pass=True)


def disagreement(step: Step, weight: float, detach: bool) -> Tensor:
    """Return the penalty of one step."""
    assert step.second_logits is not None
    one, two = step.logits, step.second_logits
    fixed_one, fixed_two = (one.detach(), two.detach()) if detach else (one, two)
    # KL(p1 || p2) trains p1 where p2 is fixed, as in AdaMix; `divergence` takes the first last
    return weight * 0.5 * (divergence(fixed_two, one) + divergence(fixed_one, two))
