"""Bottleneck adapters: down, activation, up, with or without biases."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.kit.binding.wiring import Ref
from methods.kit.contract.adapter import Adapter
from methods.kit.core.clip import Block, Tower
from methods.kit.core.errors import UsageError
from methods.kit.core.field_types import Activation
from methods.kit.parts.gradient_scale import scale_gradient
from methods.kit.parts.initial_values import linear_init
from methods.kit.parts.routing import InputGates, report_usage, shares

Place = Literal["mlp", "block"]
Init = Literal["kaiming", "normal"]
STD = 0.02  # initial weights of the BERT family
Chain = tuple[Tensor, ...]


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
    """One adapter: matrices with product (width, bottleneck), and (bottleneck, width).

    ``bias``: those of down (bottleneck,) and up (width,), or neither. ``transposed``: the matrices
    of ``up`` are transposed before use, so that they may be those of ``down``.
    """

    down: tuple[Ref, ...]
    up: tuple[Ref, ...]
    bias: tuple[Ref, ...] = ()
    transposed: bool = False
    label: str = ""

    @property
    def refs(self) -> tuple[Ref, ...]:
        return (*self.down, *self.up, *self.bias)


def own_branch(adapter: Adapter, block: Block, bottleneck: int, init: Init = "kaiming") -> Branch:
    """Own an adapter with biases, which start at zero.

    ``kaiming``: down as a default nn.Linear, up zero; ``normal``: both from N(0, 0.02).
    """
    shape, name = (block.width, bottleneck), block.key
    down = adapter.own(f"{name}.down", nn.Parameter(init_weight(shape, init)))
    down_bias = adapter.own(f"{name}.down_bias", nn.Parameter(torch.zeros(bottleneck)))
    up = adapter.own(f"{name}.up", nn.Parameter(init_weight(shape[::-1], init, up=True)))
    up_bias = adapter.own(f"{name}.up_bias", nn.Parameter(torch.zeros(block.width)))
    return Branch((down,), (up,), (down_bias, up_bias))


def init_weight(shape: tuple[int, ...], init: Init, up: bool = False) -> Tensor:
    """Return initial values of (..., in, out) matrices."""
    if init == "normal":
        return torch.empty(shape).normal_(std=STD)
    return linear_init(*shape, fan_in=math.inf if up else shape[-2])  # up: zeros


def attach_bottleneck(
    adapter: Adapter,
    block: Block,
    branches: Sequence[Branch],
    activation: Activation,
    scale: float = 1.0,
    place: Place = "mlp",
    gates: InputGates | None = None,
    layer: int = 0,
) -> None:
    """Add scale * sum_k act(seen down_k + a_k) up_k + c_k to the output y of a block or its MLP.

    ``mlp``: inside the residual branch; seen is the output y of the MLP. ``block``: parallel to
    the whole block; seen is ln_1 of its input, and the gradient of the branches is not multiplied
    by ``scale``, as in MMA (the forward pass and the gradient of the input are). With ``gates``,
    each row weights the branches by its own content, with the biases of layer ``layer``.
    """
    norm = None
    if place == "block":
        ln = block.site("ln_1")
        norm = (adapter.clip.weight(ln), adapter.clip.bias(ln))
    fn = Bottleneck(tuple(branches), activation, scale, norm)
    gate = () if gates is None else gates.refs(layer)
    refs = [ref for branch in branches for ref in branch.refs]
    adapter.after(block.site(place), fn, *refs, *gate)
    if gate:
        report_usage(adapter, block, place, fn.shares, gate, [b.label for b in branches])


@dataclass(frozen=True, eq=False)
class Bottleneck:
    """The function that `attach_bottleneck` attaches: of x, y, the branches' tensors and gates."""

    branches: tuple[Branch, ...]
    activation: Activation
    scale: float
    norm: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor, y: Tensor, *tensors: Tensor) -> Tensor:
        act, norm, scale = ACTIVATIONS[self.activation], self.norm, self.scale
        seen = self._seen(x, y)
        seen = seen if norm is None else scale_gradient(seen, scale)
        gate = tensors[self._count :]
        weights = shares(seen, *gate) * len(self.branches) if gate else None
        total: Tensor | None = None
        offsets: list[Tensor] = []
        for k, (down, up, bias) in enumerate(self._split(tensors)):
            h = product(seen, down)
            h = product(act(h + bias[0] if bias else h), up)
            h = h if weights is None else h * weights[..., k : k + 1].to(h.dtype)
            total = h if total is None else total + h
            offsets += bias[1:]
        assert total is not None
        total = total if norm is None else scale_gradient(total, 1 / scale)
        y = torch.add(y, total, alpha=scale)
        for offset in offsets:
            y = y + offset
        return y

    def shares(self, x: Tensor, y: Tensor, *gate: Tensor) -> Tensor:
        """Return the share of each branch for each row."""
        return shares(self._seen(x, y), *gate)

    def pair(self, *tensors: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return one adapter y + act(y down) up that equals all branches.

        None where there is none: with gates, biases or another input.
        """
        biased = any(branch.bias for branch in self.branches)
        if self.norm is not None or biased or len(tensors) > self._count:
            return None
        downs, ups = [], []
        for down, up, _ in self._split(tensors):
            downs.append(product(down[0], down[1:]))
            ups.append(product(up[0], up[1:]))
        return torch.cat(downs, -1), self.scale * torch.cat(ups, -2)

    @property
    def _count(self) -> int:
        return sum(len(branch.refs) for branch in self.branches)

    def _split(self, tensors: Sequence[Tensor]) -> Iterator[tuple[Chain, Chain, Chain]]:
        """Yield down, up and biases of each branch."""
        rest = iter(tensors)
        for b in self.branches:
            down, up, bias = (tuple(islice(rest, len(refs))) for refs in (b.down, b.up, b.bias))
            yield down, tuple(m.mT for m in up) if b.transposed else up, bias

    def _seen(self, x: Tensor, y: Tensor) -> Tensor:
        return y if self.norm is None else F.layer_norm(x, x.shape[-1:], *self.norm)


def product(x: Tensor, chain: Chain) -> Tensor:
    """Multiply x by each matrix of a chain."""
    for matrix in chain:
        x = x @ matrix
    return x


def check_bottleneck(bottleneck: int, tower: Tower) -> None:
    """Raise UsageError for a bottleneck wider than the tower."""
    if bottleneck > tower.width:
        raise UsageError(
            f"method.bottleneck: {bottleneck} is larger than the width {tower.width}"
            f" of the {tower.name} tower"
        )
