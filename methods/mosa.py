"""MoSA (Zhang et al., 2023, arXiv 2312.02923): one adapter, trained in pieces drawn at random.

Beside the MLP of every block, on the residual stream x that enters it, with a LayerNorm of its own,

    MLP(x) + scale * (gelu(LN(x) A + a) B + c)

B is cut into ``experts`` sparse pieces: masks M_1 .. M_N, disjoint, whose sum is all ones. Expert i
is B_0 + M_i * (B - B_0), with B_0 the initial B: a pass that draws it sees and trains the entries
under M_i alone. The repository (Theia-4869/MoSA) stores N copies of B with masked gradients, which
is the same function; here the pieces are stored in one B, so that what trains is counted once. A is
dense (``share="down"``, the repository's default) or split likewise (``"none"``). The loss is
cross-entropy and half the sum of both KL divergences between two passes with other draws.

At any other time the pieces are ``merge``d: ``add``, the mean of the experts, which is what passes
see on average; ``joint``, each entry from the expert that owns it, an update N times as strong as
any pass saw; ``repository``, joint and then divided by N as a whole, as the code does: the mean
where B_0 is zero, and where A is split it shrinks A_0 too. Departures: experts share the biases,
which the repository copies and averages, and there is no dropout inside the adapter.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.kit import (
    BOTH_TOWERS,
    Adapter,
    Block,
    Clip,
    Method,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Ref,
    Task,
    TowerName,
    UsageError,
)
from methods.kit.binding.randomness import DrawFn
from methods.kit.parts import dense_adapter
from methods.kit.parts.experts import agree, one_of

MOST = 255  # masks are stored in a byte an entry


@dataclass(frozen=True)
class MoSA(Method):
    paper = "Zhang et al., 2023"
    fidelity = "code"
    recipe = {"train.lr": 1e-3, "train.weight_decay": 0.01}

    bottleneck: PositiveInt = 64
    experts: PositiveInt = 4
    share: Literal["down", "none"] = "down"
    merge: Literal["add", "joint", "repository"] = "add"
    consistency: NonNegativeFloat = 1.0
    scale: PositiveFloat = 0.1
    layers: str = "all"
    towers: tuple[TowerName, ...] = BOTH_TOWERS

    def attach(self, clip: Clip, task: Task) -> Adapter:
        self._check(clip)
        adapter = Adapter(clip)
        for tower in clip.towers(self.towers):
            blocks = list(tower.blocks(self.layers))
            routes = {
                half: adapter.draw(
                    f"{tower.name}.route.{half}",
                    self._merged.expand(len(blocks), -1),
                    partial(_with_start, one_of(len(blocks), self.experts)),
                )
                for half in (("up",) if self.share == "down" else ("down", "up"))
            }
            for i, block in enumerate(blocks):
                self._beside(adapter, block, {half: ref[i] for half, ref in routes.items()})
        agree(adapter, self.consistency)
        return adapter

    @property
    def _merged(self) -> Tensor:
        """The share of the initial values, and those of the experts: (1 + experts,)."""
        mean = 1 / self.experts
        start = mean if self.merge == "repository" else 1.0
        each = 1.0 if self.merge == "joint" else mean
        return torch.tensor([start] + [each] * self.experts)

    def _beside(self, adapter: Adapter, block: Block, routes: dict[str, Ref]) -> None:
        width = block.width
        norm = [
            adapter.own(f"{block.key}.norm.weight", nn.Parameter(torch.ones(width))),
            adapter.own(f"{block.key}.norm.bias", nn.Parameter(torch.zeros(width))),
        ]
        own = dense_adapter.own(adapter, block, self.bottleneck)
        if "down" in routes:
            kept = adapter.own(f"{own.down.name}_start", adapter.values()[own.down.name].detach())
            down = self._pieces(adapter, own.down, routes["down"], kept)
        else:
            down = own.down
        up = self._pieces(adapter, own.up, routes["up"])
        fn = partial(_beside, scale=self.scale)
        adapter.after(block.site("mlp"), fn, *norm, down, own.down_bias, up, own.up_bias)

    def _pieces(self, adapter: Adapter, ref: Ref, shares: Ref, *start: Ref) -> Ref:
        """The matrix that a pass sees; without ``start`` its initial values are zero."""
        shape = adapter.values()[ref.name].shape
        owner = adapter.own(f"{ref.name}_owner", _owners(shape, self.experts))
        return adapter.derive(f"{ref.name}.merged", _merge, shares, owner, ref, *start)

    def _check(self, clip: Clip) -> None:
        smallest = min(tower.width for tower in clip.towers(self.towers)) * self.bottleneck
        if self.experts > min(MOST, smallest):
            raise UsageError(
                f"method.experts: {self.experts} is more than {min(MOST, smallest)}, the most that"
                " one matrix can be split into"
            )


def _owners(shape: torch.Size, count: int) -> Tensor:
    """Which expert owns each entry (rows, columns): equal shares, at random."""
    order = torch.rand(math.prod(shape)).argsort().argsort()
    return (order * count // order.numel()).to(torch.uint8).reshape(shape)


def _with_start(draw: DrawFn, progress: float, rng: torch.Generator) -> Tensor:
    """Shares of one expert, with the initial values in full: (layers, 1 + experts)."""
    return F.pad(draw(progress, rng), (1, 0), value=1.0)


def _merge(shares: Tensor, owner: Tensor, weight: Tensor, *start: Tensor) -> Tensor:
    each = shares[1:][owner.long()]
    if not start:
        return each * weight
    return shares[0] * start[0] + each * (weight - start[0])


def _beside(
    x: Tensor,
    y: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    down: Tensor,
    down_bias: Tensor,
    up: Tensor,
    up_bias: Tensor,
    scale: float,
) -> Tensor:
    h = F.layer_norm(x, x.shape[-1:], norm_weight, norm_bias)
    return y + scale * (F.gelu(h @ down + down_bias) @ up + up_bias)
