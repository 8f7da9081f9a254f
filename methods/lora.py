"""LoRA (Hu et al., 2021, arXiv 2106.09685) on CLIP's linear maps.

Defaults are those of CLIP-LoRA (Zanella and Ben Ayed, 2024, arXiv 2405.18541): rank 2 on q, k and
v of every block of both towers, W x + (alpha / sqrt(rank)) B A dropout(x). Departure: with dropout,
the paths of one packed projection share one mask instead of drawing three.
"""

import math
from dataclasses import dataclass

from methods.kit import Adapter, Clip, Method, Task
from methods.kit.core.field_types import (
    BOTH_TOWERS,
    Dropout,
    LinearSite,
    PositiveFloat,
    PositiveInt,
    TowerName,
)
from methods.kit.parts.low_rank import own_factors


@dataclass(frozen=True)
class LoRA(Method):
    paper = "Hu et al., 2021; CLIP-LoRA: Zanella and Ben Ayed, 2024"
    fidelity = "code"
    recipe = {"train.lr": 2e-4, "train.weight_decay": 0.01}

    rank: PositiveInt = 2
    alpha: PositiveFloat = 1.0
    rslora: bool = True  # scale alpha / sqrt(rank) instead of alpha / rank
    dropout: Dropout = 0.25
    sites: tuple[LinearSite, ...] = ("q", "k", "v")
    layers: str = "all"
    towers: tuple[TowerName, ...] = BOTH_TOWERS

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def attach(self, clip: Clip, task: Task) -> Adapter:
        adapter = Adapter(clip)
        for name, site in clip.linear_sites(self.towers, self.layers, self.sites):
            down, up = own_factors(adapter, name, site, self.rank)
            adapter.add(site, down, up, scale=self.scale, dropout=self.dropout)
        return adapter
