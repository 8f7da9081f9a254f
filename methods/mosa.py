"""MoSA (Zhang et al., 2023, arXiv 2312.02923): one adapter, trained in random sparse pieces.

Parallel to the MLP of every block, on the residual stream x, with its own LayerNorm,

    MLP(x) + scale * (gelu(LN(x) A + a) B + c)

B is split into ``experts`` sparse pieces by disjoint masks M_1 .. M_N that cover it. Expert i is
B_0 + M_i * (B - B_0), with B_0 the initial B: a pass that draws expert i uses and trains only the
entries under M_i. The repository (Theia-4869/MoSA) stores N copies of B with masked gradients,
which is the same function; here all pieces are in one B, so each parameter is counted once. A is
dense (``share="down"``, the repository's default) or split likewise (``"none"``). The loss is
cross-entropy plus half the sum of both KL divergences between two passes with other draws.

Outside of training the pieces are merged (``merge``). ``add``: the mean of the experts, which is
the average over passes. ``joint``: each entry from its own expert, an update N times as strong as
in any pass. ``repository``: joint, then divided by N as a whole, as in the code; this is the mean
where B_0 is zero, but where A is split it also shrinks A_0. Departures: experts share the biases,
which the repository copies and averages, and there is no dropout inside the adapter.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.kit import Adapter, Block, Clip, Method, Ref, Task, UsageError
from methods.kit.binding.randomness import DrawFn
from methods.kit.core.field_types import (
    BOTH_TOWERS,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    TowerName,
)
from methods.kit.parts.bottleneck import own_branch
from methods.kit.parts.experts import one_of, penalise_disagreement

MAX_EXPERTS = 255  # masks are stored as one byte an entry


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
            draw = partial(_with_initial, one_of(len(blocks), self.experts))
            merged = self._merged.expand(len(blocks), -1)
            routes = {
                half: adapter.draw(f"{tower.name}.route.{half}", merged, draw)
                for half in (("up",) if self.share == "down" else ("down", "up"))
            }
            for i, block in enumerate(blocks):
                self._attach(adapter, block, {half: ref[i] for half, ref in routes.items()})
        penalise_disagreement(adapter, self.consistency)
        return adapter

    @property
    def _merged(self) -> Tensor:
        """The shares of the initial values and of the experts, merged: (1 + experts,)."""
        mean = 1 / self.experts
        initial = mean if self.merge == "repository" else 1.0
        each = 1.0 if self.merge == "joint" else mean
        return torch.tensor([initial] + [each] * self.experts)

    def _attach(self, adapter: Adapter, block: Block, routes: dict[str, Ref]) -> None:
        width = block.width
        norm = [
            adapter.own(f"{block.key}.norm.weight", nn.Parameter(torch.ones(width))),
            adapter.own(f"{block.key}.norm.bias", nn.Parameter(torch.zeros(width))),
        ]
        down, up, *bias = own_branch(adapter, block, self.bottleneck).refs
        if "down" in routes:
            initial = adapter.own(f"{down.name}_start", adapter.values()[down.name].detach())
            down = self._pieces(adapter, down, routes["down"], initial)
        up = self._pieces(adapter, up, routes["up"])
        fn = partial(_adapt, scale=self.scale)
        adapter.after(block.site("mlp"), fn, *norm, down, up, *bias)

    def _pieces(self, adapter: Adapter, ref: Ref, shares: Ref, *initial: Ref) -> Ref:
        """Derive the matrix of a pass; without ``initial``, initial values are zero."""
        shape = adapter.values()[ref.name].shape
        owner = adapter.own(f"{ref.name}_owner", _owners(shape, self.experts))
        return adapter.derive(f"{ref.name}.merged", _merge, shares, owner, ref, *initial)

    def _check(self, clip: Clip) -> None:
        smallest = min(tower.width for tower in clip.towers(self.towers)) * self.bottleneck
        if self.experts > min(MAX_EXPERTS, smallest):
            raise UsageError(
                f"method.experts: {self.experts} is more than {min(MAX_EXPERTS, smallest)}, the"
                " most that one matrix can be split into"
            )


def _owners(shape: torch.Size, count: int) -> Tensor:
    """Assign each entry (rows, columns) to an expert: equal shares, at random."""
    order = torch.rand(math.prod(shape)).argsort().argsort()
    return (order * count // order.numel()).to(torch.uint8).reshape(shape)


def _with_initial(draw: DrawFn, progress: float, rng: torch.Generator) -> Tensor:
    """Draw one expert a layer, with the initial values in full: (layers, 1 + experts)."""
    return F.pad(draw(progress, rng), (1, 0), value=1.0)


def _merge(shares: Tensor, owner: Tensor, weight: Tensor, *initial: Tensor) -> Tensor:
    entries = shares[1:][owner.long()]
    if not initial:
        return entries * weight
    return shares[0] * initial[0] + entries * (weight - initial[0])


def _adapt(
    x: Tensor,
    y: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    down: Tensor,
    up: Tensor,
    down_bias: Tensor,
    up_bias: Tensor,
    scale: float,
) -> Tensor:
    h = F.layer_norm(x, x.shape[-1:], norm_weight, norm_bias)
    return y + scale * (F.gelu(h @ down + down_bias) @ up + up_bias)
