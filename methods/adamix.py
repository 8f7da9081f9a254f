"""AdaMix (Wang et al., 2022, arXiv 2205.12410): adapters whose halves are drawn from experts.

On the output y of the MLP of every block, inside the residual branch,

    y + gelu(y A_i + a_i) B_j + c_j

with i and j drawn in each layer for the whole batch, in each training pass. As in the repository
(microsoft/AdaMix), there are four A and one B (``share_up``). The loss is cross-entropy plus half
the sum of KL(p1 | p2) and KL(p2 | p1) of two passes, each with its second distribution detached.
Outside of training the experts are averaged: one adapter, four times smaller.

``init="paper"``: all weights from N(0, 0.02), so the adapted model does not start as the frozen
one; ``"frozen"``: B is zero. The experts of a layer are one tensor, so an expert that is not drawn
has a zero gradient rather than none: momentum and weight decay still move it.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from methods.kit import Adapter, Block, Clip, Method, Ref, Task, Tower
from methods.kit.core.field_types import (
    BOTH_TOWERS,
    Activation,
    NonNegativeFloat,
    PositiveInt,
    TowerName,
)
from methods.kit.parts.bottleneck import Branch, attach_bottleneck, init_weight
from methods.kit.parts.experts import mix, penalise_disagreement, route


@dataclass(frozen=True)
class AdaMix(Method):
    paper = "Wang et al., 2022"
    fidelity = "code"
    recipe = {"train.lr": 3e-4, "train.weight_decay": 0.1, "train.warmup": 0.06}

    bottleneck: PositiveInt = 16
    experts: PositiveInt = 4
    share_down: bool = False
    share_up: bool = True
    consistency: NonNegativeFloat = 1.0
    activation: Activation = "gelu"
    init: Literal["paper", "frozen"] = "paper"
    layers: str = "all"
    towers: tuple[TowerName, ...] = BOTH_TOWERS

    @property
    def identity(self) -> bool:
        return self.init == "frozen"

    def attach(self, clip: Clip, task: Task) -> Adapter:
        adapter = Adapter(clip)
        for tower in clip.towers(self.towers):
            blocks = list(tower.blocks(self.layers))
            routes = self._routes(adapter, tower, len(blocks))
            for i, block in enumerate(blocks):
                down, down_bias = self._half(adapter, block, "down", i, routes)
                up, up_bias = self._half(adapter, block, "up", i, routes)
                branch = Branch((down,), (up,), (down_bias, up_bias))
                attach_bottleneck(adapter, block, [branch], self.activation)
        penalise_disagreement(adapter, self.consistency, detach=True)
        return adapter

    def _routes(self, adapter: Adapter, tower: Tower, layers: int) -> dict[str, Ref]:
        """Return the shares of the experts of every layer, for each half that has experts."""
        halves = {"down": self.share_down, "up": self.share_up}
        return {
            half: route(adapter, f"{tower.name}.route.{half}", layers, self.experts)
            for half, shared in halves.items()
            if not shared
        }

    def _half(
        self, adapter: Adapter, block: Block, half: str, layer: int, routes: dict[str, Ref]
    ) -> tuple[Ref, Ref]:
        """Own a weight and a bias, mixed from experts if this half has them."""
        name, experts = f"{block.key}.{half}", (self.experts,) if half in routes else ()
        shape = (block.width, self.bottleneck)[:: 1 if half == "down" else -1]
        weight = init_weight((*experts, *shape), "normal")
        if half == "up" and self.init == "frozen":
            weight.zero_()
        owned = adapter.own(name, nn.Parameter(weight))
        bias = adapter.own(f"{name}_bias", nn.Parameter(torch.zeros(*experts, shape[1])))
        if not experts:
            return owned, bias
        share = routes[half][layer]
        return (
            adapter.derive(f"{name}.mixed", mix, share, owned),
            adapter.derive(f"{name}_bias.mixed", mix, share, bias),
        )
