"""Bottleneck adapters: down, activation, up; each side one matrix or a short chain of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.kit.binding.wiring import Ref
from methods.kit.contract.adapter import Adapter
from methods.kit.core.clip import Block, Tower
from methods.kit.core.errors import UsageError
from methods.kit.core.field_types import Activation
from methods.kit.parts.gradient_scale import rescale
from methods.kit.parts.routing import InputGates, report_usage, shares

Place = Literal["mlp", "block"]


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


def attach_bottleneck(
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
    layout = tuple((len(b.down), len(b.up), b.turned) for b in branches)
    fn = Bottleneck(layout, activation, scale, norm)
    gate = () if gates is None else gates.refs(layer)
    refs = [ref for b in branches for ref in (*b.down, *b.up)]
    adapter.after(block.site(place), fn, *refs, *gate)
    if gate:
        labels = [b.label for b in branches]
        report_usage(adapter, block, place, fn.shares, gate, labels)


@dataclass(frozen=True, eq=False)
class Bottleneck:
    """What :func:`hang` puts on a site, as a function of x, y, the branches' matrices and gates.

    ``layout``: of each branch how many matrices lead down and up, and whether those are turned.
    """

    layout: tuple[tuple[int, int, bool], ...]
    activation: Activation
    scale: float
    norm: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor, y: Tensor, *tensors: Tensor) -> Tensor:
        act, norm, scale = ACTIVATIONS[self.activation], self.norm, self.scale
        seen = self._seen(x, y)
        seen = seen if norm is None else rescale(seen, scale)
        gate = tensors[self._used :]
        weights = shares(seen, gate[0], gate[1], gate[2]) * len(self.layout) if gate else None
        total = None
        for k, (down, up) in enumerate(self._branches(tensors)):
            h = product(act(product(seen, down)), up)
            h = h if weights is None else h * weights[..., k : k + 1].to(h.dtype)
            total = h if total is None else total + h
        assert total is not None
        return torch.add(y, total if norm is None else rescale(total, 1 / scale), alpha=scale)

    def shares(self, x: Tensor, y: Tensor, *gate: Tensor) -> Tensor:
        """The share of each branch for each row."""
        return shares(self._seen(x, y), gate[0], gate[1], gate[2])

    def pair(self, *tensors: Tensor) -> tuple[Tensor, Tensor] | None:
        """All branches as one plain adapter y + act(y down) up; None for gates and other inputs."""
        if self.norm is not None or len(tensors) > self._used:
            return None
        downs, ups = [], []
        for down, up in self._branches(tensors):
            downs.append(product(down[0], down[1:]))
            ups.append(product(up[0], up[1:]))
        return torch.cat(downs, -1), self.scale * torch.cat(ups, -2)

    @property
    def _used(self) -> int:
        return sum(downs + ups for downs, ups, _ in self.layout)

    def _branches(
        self, tensors: Sequence[Tensor]
    ) -> Iterator[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        at = 0
        for downs, ups, turned in self.layout:
            up = tuple(tensors[at + downs : at + downs + ups])
            yield tuple(tensors[at : at + downs]), tuple(m.mT for m in up) if turned else up
            at += downs + ups

    def _seen(self, x: Tensor, y: Tensor) -> Tensor:
        return y if self.norm is None else F.layer_norm(x, x.shape[-1:], *self.norm)


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
