"""Linear maps over rows (N, width); each operand may have a leading trial axis."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.kit.binding import autocast

# Above rank = width * FOLD_ABOVE one product with a folded weight beats x -> small -> out
# (measured between ranks 64 and 256 at width 768, forward and backward).
FOLD_ABOVE = 1 / 6

Rows = tuple[int, int]


def plain_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return W x + b.

    Rows are flattened to two axes first: a frozen weight and a three-axis input otherwise become
    many small products.
    """
    if weight.dim() == 2:
        weight = autocast.cast_once(weight)
        if x.dim() == 2:
            y = F.linear(x, weight, bias if bias is None or bias.dim() == 1 else None)
        else:
            y = F.linear(x.flatten(0, 1), weight, None if bias is None or bias.dim() == 2 else bias)
            y = y.unflatten(0, x.shape[:2])
        return y if bias is None or bias.dim() == 1 else y + rowwise(bias)
    y = x @ weight.mT
    return y if bias is None else y + rowwise(bias)


def low_rank(y: Tensor, x: Tensor, down: Tensor, up: Tensor) -> Tensor:
    """Return y + up(down(x)), with the addition fused into the last product."""
    small = plain_linear(x, down, None)
    if not y.dtype == small.dtype == up.dtype:
        return y + small @ up.mT
    if y.dim() == small.dim() == up.dim():
        return (torch.addmm if y.dim() == 2 else torch.baddbmm)(y, small, up.mT)
    return y + small @ up.mT


def rowwise(vector: Tensor) -> Tensor:
    """Reshape (K, width) to (K, 1, width), so that it broadcasts over rows."""
    return vector.unsqueeze(-2) if vector.dim() == 2 else vector


def cut(value: Any, rows: Rows | None, base: int) -> Any:
    """Select output rows of a weight (``base`` 2) or bias (1)."""
    if value is None or rows is None:
        return value
    return value.narrow(value.dim() - base, rows[0], rows[1] - rows[0])
