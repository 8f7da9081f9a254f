"""AdaMix (Wang et al., 2022, arXiv 2205.12410): adapters whose halves are drawn from a few experts.

Behind the MLP of every block, inside the residual branch,

    y + gelu(y A_i + a_i) B_j + c_j

with i and j drawn anew in each layer, for the whole batch, in each training pass; as in the
repository (microsoft/AdaMix) there are four A and one B (``share_up``). The loss is cross-entropy
and half the sum of KL(p1 | p2) and KL(p2 | p1) between two passes, the second distribution of each
held still. At any other time the experts are averaged: one dense adapter, four times smaller.

``init="paper"``: all weights N(0, 0.02), so the adapted model does not start as the frozen one;
``"frozen"``: B is zero. Experts of a layer are one tensor, so an expert that is not drawn has a
gradient of zero rather than none: the optimiser's momentum and decay still move it.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from methods.kit import (
    BOTH_TOWERS,
    Activation,
    Adapter,
    Block,
    Clip,
    Method,
    NonNegativeFloat,
    PositiveInt,
    Ref,
    Task,
    Tower,
    TowerName,
)
from methods.kit.parts import dense_adapter
from methods.kit.parts.experts import agree, mix, route


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
                parts = dense_adapter.Dense(down, down_bias, up, up_bias)
                dense_adapter.attach_dense(adapter, block, parts, self.activation)
        agree(adapter, self.consistency, detach=True)
        return adapter

    def _routes(self, adapter: Adapter, tower: Tower, layers: int) -> dict[str, Ref]:
        """For each half that has experts the shares of those in every layer."""
        split = {"down": not self.share_down, "up": not self.share_up}
        return {
            half: route(adapter, f"{tower.name}.route.{half}", layers, self.experts)
            for half in split
            if split[half]
        }

    def _half(
        self, adapter: Adapter, block: Block, half: str, layer: int, routes: dict[str, Ref]
    ) -> tuple[Ref, Ref]:
        """A weight and a bias, mixed from experts where this half has them."""
        name, many = f"{block.key}.{half}", (self.experts,) if half in routes else ()
        shape = (block.width, self.bottleneck)[:: 1 if half == "down" else -1]
        weight = dense_adapter.drawn((*many, *shape), "normal")
        if half == "up" and self.init == "frozen":
            weight.zero_()
        owned = adapter.own(name, nn.Parameter(weight))
        bias = adapter.own(f"{name}_bias", nn.Parameter(torch.zeros(*many, shape[1])))
        if not many:
            return owned, bias
        mixed = [
            adapter.derive(f"{ref.name}.mixed", mix, routes[half][layer], ref)
            for ref in (owned, bias)
        ]
        return mixed[0], mixed[1]
