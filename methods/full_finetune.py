"""Full fine-tuning: every weight of both towers and the logit scale train.

The backbone stays unmodified: a copy trains, which the towers read instead.
"""

from dataclasses import dataclass

from methods.kit import Adapter, Clip, Method, Task
from methods.kit.core.clip import weight_name
from methods.kit.core.field_types import BOTH_TOWERS, TowerName
from methods.kit.parts.frozen_copy import train_copy


@dataclass(frozen=True)
class FullFinetune(Method):
    paper = "Radford et al., 2021"
    recipe = {"train.lr": 1e-5, "train.weight_decay": 0.1}

    towers: tuple[TowerName, ...] = BOTH_TOWERS

    def attach(self, clip: Clip, task: Task) -> Adapter:
        adapter = Adapter(clip)
        chosen = {tower.name for tower in clip.towers(self.towers)} | {"shared"}
        for site, part in clip.sites():
            if site.tower in chosen:
                train_copy(adapter, weight_name(site.key, part), site, part)
        return adapter
