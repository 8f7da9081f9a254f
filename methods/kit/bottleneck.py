"""Bottleneck adapters: down, activation, up; each side one matrix or a short chain of them."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.kit.adapter import Adapter
from methods.kit.clip import Block, Tower
from methods.kit.errors import UsageError
from methods.kit.fields import Activation
from methods.kit.rig import Ref


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def identity(x: Tensor) -> Tensor:
    return x


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "quick_gelu": quick_gelu,
    "identity": identity,
}


def hang(
    adapter: Adapter,
    block: Block,
    down: tuple[Ref, ...],
    up: tuple[Ref, ...],
    activation: Activation,
    scale: float,
) -> None:
    """Put y + scale * act(y down) up on the output of a block's MLP, inside the residual branch.

    ``down`` multiplies to (width, bottleneck), ``up`` to (bottleneck, width).
    """
    act = ACTIVATIONS[activation]
    fn = partial(_after_mlp, split=len(down), act=act, scale=scale)
    adapter.after(block.site("mlp"), fn, *down, *up)


def _after_mlp(
    x: Tensor,
    y: Tensor,
    *chain: Tensor,
    split: int,
    act: Callable[[Tensor], Tensor],
    scale: float,
) -> Tensor:
    h = act(product(y, chain[:split]))
    *first, last = chain[split:]
    h = product(h, tuple(first))
    return torch.add(y, h @ last, alpha=scale)


def product(x: Tensor, chain: tuple[Tensor, ...]) -> Tensor:
    """x times each matrix in turn."""
    for matrix in chain:
        x = x @ matrix
    return x


def check_bottleneck(bottleneck: int, tower: Tower) -> None:
    """Raises UsageError for a bottleneck wider than the tower."""
    if bottleneck > tower.width:
        raise UsageError(
            f"method.bottleneck: {bottleneck} is larger than the width {tower.width}"
            f" of the {tower.name} tower"
        )
