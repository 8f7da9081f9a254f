"""Full fine-tuning: every weight of both towers trains, the logit scale too.

The backbone itself stays as it is; what trains is a copy that the towers read instead.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from methods.kit import BOTH_TOWERS, Adapter, Clip, Method, Task, TowerName


@dataclass(frozen=True)
class FullFinetune(Method):
    paper = "Radford et al., 2021"
    recipe = {"train.lr": 1e-5, "train.weight_decay": 0.1}

    towers: tuple[TowerName, ...] = BOTH_TOWERS

    def attach(self, clip: Clip, task: Task) -> Adapter:
        adapter = Adapter(clip)
        chosen = {tower.name for tower in clip.towers(self.towers)} | {"shared"}
        for site, part in clip.sites():
            if site.tower not in chosen:
                continue
            frozen = clip.weight(site) if part == "weight" else clip.bias(site)
            middle = [site.tower, site.layer, site.name, part]
            name = ".".join(str(m) for m in middle if m is not None)
            mine = adapter.own(name, nn.Parameter(frozen.clone()))
            adapter.reweight(site, _instead, mine, part=part)
        return adapter


def _instead(frozen: Tensor, mine: Tensor) -> Tensor:
    return mine
