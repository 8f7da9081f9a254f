"""The identity, with another gradient."""

from typing import Any

import torch
from torch import Tensor


class _Rescale(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, factor: float) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None


def rescale(x: Tensor, factor: float) -> Tensor:
    """x itself; what flows back through here is multiplied by ``factor``."""
    result: Tensor = _Rescale.apply(x, factor)
    return result
