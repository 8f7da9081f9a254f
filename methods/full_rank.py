"""Full-rank adaptation: what AdaRing compresses, uncompressed.

``form="adapter"``: one bottleneck adapter a layer after the MLP, y + scale * act(y D) U. It is the
counterpart of AdaRing's adapter form (the per-layer adapters that its abstract compares with).
``form="delta"``: one dense update W + D for each weight of ``sites``, the counterpart of the delta
form. U and D start at zero.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from methods.kit import Adapter, Clip, Method, Task
from methods.kit.core.field_types import (
    BOTH_TOWERS,
    Activation,
    LinearSite,
    PositiveFloat,
    PositiveInt,
    TowerName,
)
from methods.kit.parts.bottleneck import Branch, attach_bottleneck, check_bottleneck
from methods.kit.parts.initial_values import linear_init


@dataclass(frozen=True)
class FullRank(Method):
    paper = "Houlsby et al., 2019 (adapters); dense updates"
    fidelity = "reading"
    recipe = {"train.lr": 1e-3}

    form: Literal["adapter", "delta"] = "adapter"
    bottleneck: PositiveInt = 32  # adapter form
    activation: Activation = "gelu"  # adapter form
    scale: PositiveFloat = 1.0  # adapter form
    sites: tuple[LinearSite, ...] = ("q", "k", "v")  # delta form
    layers: str = "all"
    towers: tuple[TowerName, ...] = BOTH_TOWERS

    def attach(self, clip: Clip, task: Task) -> Adapter:
        return self._adapters(clip) if self.form == "adapter" else self._deltas(clip)

    def _adapters(self, clip: Clip) -> Adapter:
        adapter = Adapter(clip)
        for tower in clip.towers(self.towers):
            check_bottleneck(self.bottleneck, tower)
            for block in tower.blocks(self.layers):
                width = block.width
                down = nn.Parameter(linear_init(width, self.bottleneck, fan_in=width))
                up = nn.Parameter(torch.zeros(self.bottleneck, width))
                branch = Branch(
                    (adapter.own(f"{block.key}.down", down),), (adapter.own(f"{block.key}.up", up),)
                )
                attach_bottleneck(adapter, block, [branch], self.activation, self.scale)
        return adapter

    def _deltas(self, clip: Clip) -> Adapter:
        adapter = Adapter(clip)
        for name, site in clip.linear_sites(self.towers, self.layers, self.sites):
            delta = adapter.own(name, nn.Parameter(torch.zeros(site.shape)))
            adapter.reweight(site, torch.add, delta)
        return adapter
