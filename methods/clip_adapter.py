"""CLIP-Adapter (Gao et al., 2021, arXiv 2110.04544): a residual bottleneck on the final feature.

``f' = ratio * relu(relu(f down) up) + (1 - ratio) * f`` without biases, as in the repository. The
repository takes the feature before normalization. Without biases, the two-layer ReLU network is
positively homogeneous, so the direction that is scored is the same.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from methods.kit import Adapter, Clip, Method, Task, UsageError
from methods.kit.core.field_types import Fraction, PositiveInt, TowerName
from methods.kit.parts.initial_values import linear_init


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
        adapter, small = Adapter(clip), clip.dim // self.reduction
        towers, refs = [tower.name for tower in clip.towers(self.towers)], []
        for tower in towers:
            down = nn.Parameter(linear_init(clip.dim, small, fan_in=clip.dim))
            up = nn.Parameter(linear_init(small, clip.dim, fan_in=small))
            refs += [adapter.own(f"{tower}.down", down), adapter.own(f"{tower}.up", up)]

        def logits(image: Tensor, text: Tensor, scale: Tensor, *weights: Tensor) -> Tensor:
            features = {"image": image, "text": text}
            for i, tower in enumerate(towers):
                down, up = weights[2 * i : 2 * i + 2]
                mixed = F.relu(F.relu(features[tower] @ down) @ up)
                mixed = self.ratio * mixed + (1 - self.ratio) * features[tower]
                features[tower] = F.normalize(mixed, dim=-1)
            return scale * (features["image"] @ features["text"].mT)

        adapter.score(logits, *refs)
        return adapter
