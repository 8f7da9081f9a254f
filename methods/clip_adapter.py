"""CLIP-Adapter (Gao et al., 2021, arXiv 2110.04544): a residual bottleneck on the final feature.

``f' = ratio * relu(relu(f down) up) + (1 - ratio) * f`` without biases, as in the repository. The
repository feeds the feature before normalisation; without biases the two-layer ReLU network is
positively homogeneous, so the direction that is scored is the same.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.kit import (
    Adapter,
    Clip,
    Fraction,
    Method,
    PositiveInt,
    Ref,
    Task,
    TowerName,
    UsageError,
)


@dataclass(frozen=True)
class CLIPAdapter(Method):
    paper = "Gao et al., 2021"
    fidelity = "code"
    recipe = {"train.lr": 2e-3}

    ratio: Fraction = 0.2
    reduction: PositiveInt = 4
    towers: tuple[TowerName, ...] = ("image",)

    @property
    def identity(self) -> bool:
        return False  # a fifth of a random feature is mixed in

    def attach(self, clip: Clip, task: Task) -> Adapter:
        if self.reduction > clip.dim:
            raise UsageError(
                f"method.reduction: {self.reduction} leaves nothing of the {clip.dim} features"
            )
        adapter = Adapter(clip)
        refs = {t.name: self._own(adapter, t.name, clip.dim) for t in clip.towers(self.towers)}

        def logits(image: Tensor, text: Tensor, scale: Tensor, *weights: Tensor) -> Tensor:
            sides = {"image": image, "text": text}
            for i, tower in enumerate(refs):
                down, up = weights[2 * i : 2 * i + 2]
                mixed = F.relu(F.relu(sides[tower] @ down) @ up)
                mixed = self.ratio * mixed + (1 - self.ratio) * sides[tower]
                sides[tower] = F.normalize(mixed, dim=-1)
            return scale * (sides["image"] @ sides["text"].mT)

        adapter.score(logits, *(ref for pair in refs.values() for ref in pair))
        return adapter

    def _own(self, adapter: Adapter, tower: str, dim: int) -> tuple[Ref, Ref]:
        small = dim // self.reduction
        down = torch.empty(dim, small).uniform_(-(dim**-0.5), dim**-0.5)  # as a default nn.Linear
        up = torch.empty(small, dim).uniform_(-(small**-0.5), small**-0.5)
        return (
            adapter.own(f"{tower}.down", nn.Parameter(down)),
            adapter.own(f"{tower}.up", nn.Parameter(up)),
        )
