"""Dense adapters with biases: act(x A + a) B + c, of one layer each."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from methods.kit.binding.wiring import Ref
from methods.kit.contract.adapter import Adapter
from methods.kit.core.clip import Block
from methods.kit.core.field_types import Activation
from methods.kit.parts.bottleneck import ACTIVATIONS

Init = Literal["kaiming", "normal"]
STD = 0.02  # what BERT's family draws its weights with


@dataclass(frozen=True)
class Dense:
    """The four tensors of one adapter."""

    down: Ref  # A (width, bottleneck)
    down_bias: Ref  # a (bottleneck,)
    up: Ref  # B (bottleneck, width)
    up_bias: Ref  # c (width,)

    @property
    def refs(self) -> tuple[Ref, Ref, Ref, Ref]:
        return self.down, self.down_bias, self.up, self.up_bias


def own(adapter: Adapter, block: Block, bottleneck: int, init: Init = "kaiming") -> Dense:
    """Own one adapter. ``kaiming``: A as a default nn.Linear, B zero; ``normal``: both N(0, 0.02).

    Biases start at zero.
    """
    return Dense(
        adapter.own(f"{block.key}.down", nn.Parameter(drawn((block.width, bottleneck), init))),
        adapter.own(f"{block.key}.down_bias", nn.Parameter(torch.zeros(bottleneck))),
        adapter.own(
            f"{block.key}.up", nn.Parameter(drawn((bottleneck, block.width), init, up=True))
        ),
        adapter.own(f"{block.key}.up_bias", nn.Parameter(torch.zeros(block.width))),
    )


def drawn(shape: tuple[int, ...], init: Init, up: bool = False) -> Tensor:
    """Initial values of (..., in, out) matrices."""
    if init == "normal":
        return torch.empty(shape).normal_(std=STD)
    bound = 0.0 if up else 1 / math.sqrt(shape[-2])
    return torch.empty(shape).uniform_(-bound, bound)


def attach_dense(adapter: Adapter, block: Block, dense: Dense, activation: Activation) -> None:
    """y + act(y A + a) B + c on the output of a block's MLP, inside the residual branch."""
    adapter.after(block.site("mlp"), partial(behind, act=ACTIVATIONS[activation]), *dense.refs)


def behind(
    _x: Tensor,
    y: Tensor,
    down: Tensor,
    down_bias: Tensor,
    up: Tensor,
    up_bias: Tensor,
    act: Callable[[Tensor], Tensor],
) -> Tensor:
    return y + act(y @ down + down_bias) @ up + up_bias
