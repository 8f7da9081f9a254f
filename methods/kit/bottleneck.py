"""Bottleneck adapters: down, activation, up; each side one matrix or a short chain of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.kit.adapter import Adapter
from methods.kit.clip import Block, Tower
from methods.kit.errors import UsageError
from methods.kit.fields import Activation
from methods.kit.rescale import rescale
from methods.kit.rig import Ref
from methods.kit.routing import InputGates, report_usage, shares

Place = Literal["mlp", "block"]
Read = Callable[[Tensor, Tensor], Tensor]


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


@dataclass(frozen=True)
class Branch:
    """Matrices that multiply to (width, bottleneck) and those to (bottleneck, width).

    ``turned``: those of ``up`` are used transposed, so that they may be those of ``down``.
    """

    down: tuple[Ref, ...]
    up: tuple[Ref, ...]
    turned: bool = False
    label: str = ""


def hang(
    adapter: Adapter,
    block: Block,
    branches: Sequence[Branch],
    activation: Activation,
    scale: float,
    place: Place = "mlp",
    gates: InputGates | None = None,
    layer: int = 0,
) -> None:
    """Put y + scale * sum_k act(seen down_k) up_k on the output of a block's MLP or of the block.

    ``mlp``: inside the residual branch, seen is the output y of the MLP. ``block``: parallel to
    the whole block, seen is ln_1 of its input, and the gradient that reaches the branches is freed
    of ``scale``, as in MMA (the forward pass and the gradient to the input are not). With
    ``gates``, each row weighs the branches by what it is, as the layer number ``layer`` says.
    """
    norm = None
    if place == "block":
        ln = block.site("ln_1")
        norm = (adapter.clip.weight(ln), adapter.clip.bias(ln))
    fn = partial(
        _add,
        layout=tuple((len(b.down), len(b.up), b.turned) for b in branches),
        act=ACTIVATIONS[activation],
        scale=scale,
        norm=norm,
    )
    gate = () if gates is None else gates.refs(layer)
    refs = [ref for b in branches for ref in (*b.down, *b.up)]
    adapter.after(block.site(place), fn, *refs, *gate)
    if gate:
        labels = [b.label for b in branches]
        report_usage(adapter, block, place, partial(_shares, norm=norm), gate, labels)


def _add(
    x: Tensor,
    y: Tensor,
    *tensors: Tensor,
    layout: tuple[tuple[int, int, bool], ...],
    act: Callable[[Tensor], Tensor],
    scale: float,
    norm: tuple[Tensor, Tensor] | None,
) -> Tensor:
    used = sum(downs + ups for downs, ups, _ in layout)
    seen = _seen(x, y, norm)
    seen = seen if norm is None else rescale(seen, scale)
    gate = tensors[used:]
    weights = shares(seen, gate[0], gate[1], gate[2]) * len(layout) if gate else None
    total, at = None, 0
    for k, (downs, ups, turned) in enumerate(layout):
        down, up = tensors[at : at + downs], tensors[at + downs : at + downs + ups]
        h = product(act(product(seen, down)), tuple(m.mT for m in up) if turned else up)
        h = h if weights is None else h * weights[..., k : k + 1].to(h.dtype)
        total = h if total is None else total + h
        at += downs + ups
    assert total is not None
    return torch.add(y, total if norm is None else rescale(total, 1 / scale), alpha=scale)


def _shares(x: Tensor, y: Tensor, *gate: Tensor, norm: tuple[Tensor, Tensor] | None) -> Tensor:
    return shares(_seen(x, y, norm), gate[0], gate[1], gate[2])


def _seen(x: Tensor, y: Tensor, norm: tuple[Tensor, Tensor] | None) -> Tensor:
    return y if norm is None else F.layer_norm(x, x.shape[-1:], *norm)


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
