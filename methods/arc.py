"""ARC (Dong et al., 2023, arXiv 2310.06234): a projection shared by layers, rescaled in each.

On the output x of ``ln_1``, before attention, and with another W on that of ``ln_2``, before the
MLP, as in the repository (DavidYanAnDe/ARC),

    x + ((x W) * c_l) W^T + b_l,   W (width, bottleneck) shared by the layers of a tower

without an activation. The up projection is the transpose of the down projection; a layer owns only
c_l and b_l. The map is linear in x, so it runs as an update of the projection P that follows (qkv
or the MLP's first map): P + (P W) diag(c_l) W^T, and P b_l on its bias. It folds exactly.

W is Xavier-uniform, and c_l of attention zero. ``init="paper"``: c_l of the MLP is Xavier-uniform,
as in the repository, so the adapted model does not start as the frozen one; ``"frozen"``: zero.
Dropout acts on the input of the path. The paper clips gradients at 1, which the shared W needs at
the paper's learning rate of 0.01.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from methods.kit import Adapter, Block, Clip, Method, Ref, Task, Tower, UsageError
from methods.kit.core.field_types import BOTH_TOWERS, Dropout, PositiveInt, TowerName

Place = Literal["attention", "mlp"]
PROJECTION: dict[Place, str] = {"attention": "qkv", "mlp": "fc"}


@dataclass(frozen=True)
class ARC(Method):
    paper = "Dong et al., 2023"
    fidelity = "code"
    recipe = {"train.lr": 1e-2, "train.weight_decay": 0.0, "train.clip_grad": 1.0}

    bottleneck: PositiveInt = 50
    places: tuple[Place, ...] = ("attention", "mlp")
    init: Literal["paper", "frozen"] = "paper"
    dropout: Dropout = 0.1
    layers: str = "all"
    towers: tuple[TowerName, ...] = BOTH_TOWERS

    @property
    def identity(self) -> bool:
        return self.init == "frozen" or "mlp" not in self.places

    def attach(self, clip: Clip, task: Task) -> Adapter:
        if not self.places:
            raise UsageError("method.places: name at least one of attention, mlp")
        adapter = Adapter(clip)
        for tower in clip.towers(self.towers):
            for place in dict.fromkeys(self.places):
                shared = self._shared(adapter, tower, place)
                for block in tower.blocks(self.layers):
                    self._rescale(adapter, block, place, shared)
        return adapter

    def _shared(self, adapter: Adapter, tower: Tower, place: Place) -> Ref:
        weight = nn.Parameter(torch.empty(tower.width, self.bottleneck))
        nn.init.xavier_uniform_(weight)
        return adapter.own(f"{tower.name}.{place}.shared", weight)

    def _rescale(self, adapter: Adapter, block: Block, place: Place, shared: Ref) -> None:
        name, site = f"{block.key}.{place}", block.site(PROJECTION[place])
        frozen = adapter.clip.weight(site)
        scale = torch.zeros(1, self.bottleneck)
        if place == "mlp" and self.init == "paper":
            nn.init.xavier_uniform_(scale)
        c = adapter.own(f"{name}.scale", nn.Parameter(scale.squeeze(0)))
        shift = adapter.own(f"{name}.shift", nn.Parameter(torch.zeros(block.width)))
        down = adapter.derive(f"{name}.down", _scaled, shared, c)
        up = adapter.derive(f"{name}.up", partial(torch.matmul, frozen), shared)
        adapter.add(site, down, up, dropout=self.dropout)
        adapter.reweight(site, partial(_shifted, frozen), shift, part="bias")


def _scaled(shared: Tensor, c: Tensor) -> Tensor:
    """Return diag(c) W^T (bottleneck, width)."""
    return c.unsqueeze(-1) * shared.mT


def _shifted(weight: Tensor, bias: Tensor, shift: Tensor) -> Tensor:
    return bias + weight @ shift
