"""Several adapters as one: their sum, their mean, or their mean after optimal transport.

Only the hidden units of an adapter act(x A + a) B + c can be permuted without changing it: the
axes of the residual stream are fixed. With uniform masses and equally many units, the optimal plan
is a permutation (over b), found exactly by the Hungarian algorithm.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Merge = Literal["sum", "mean", "ot_weights", "ot_activations"]


class Weights(NamedTuple):
    """One adapter: A (width, b), a (b,), B (b, width), c (width,)."""

    down: Tensor
    down_bias: Tensor
    up: Tensor
    up_bias: Tensor


def merge(
    adapters: Sequence[Weights], how: Merge, hidden: Callable[[Weights], Tensor] | None = None
) -> Weights:
    """Return one adapter of the same size.

    ``ot_activations`` matches the activations (rows, b) that ``hidden`` returns.
    """
    first, *others = adapters
    if how == "ot_weights":
        others = [permuted(w, plan(_units(w), _units(first))) for w in others]
    elif how == "ot_activations":
        assert hidden is not None
        others = [permuted(w, plan(hidden(w).mT, hidden(first).mT)) for w in others]
    total = [torch.stack(parts).sum(0) for parts in zip(first, *others, strict=True)]
    return Weights(*(part if how == "sum" else part / len(adapters) for part in total))


def plan(units: Tensor, reference: Tensor) -> Tensor:
    """Return a permutation T (b, b): T[u, v] = 1 where unit u moves to reference unit v.

    Units are rows; the cost is their Euclidean distance.
    """
    cost = torch.cdist(
        units.double(), reference.double(), compute_mode="donot_use_mm_for_euclid_dist"
    )
    t = torch.zeros(cost.shape, dtype=units.dtype, device=units.device)
    t[linear_sum_assignment(cost.cpu().numpy())] = 1.0
    return t


def permuted(w: Weights, t: Tensor) -> Weights:
    """Return the same function with permuted hidden units: A T, a T, T' B, c."""
    return Weights(w.down @ t, w.down_bias @ t, t.mT @ w.up, w.up_bias)


def _units(w: Weights) -> Tensor:
    """Return the input weights and bias of each hidden unit (b, width + 1)."""
    return torch.cat((w.down, w.down_bias[None]), 0).mT
