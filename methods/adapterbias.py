"""AdapterBias (Fu et al., 2022, Findings of NAACL): one direction, as far as a token asks.

At the second linear map of every MLP, with h the hidden activations that enter it,

    y = W h + b + alpha v,   alpha = w . h + b_alpha   (a number for each token)

as in the repository (Allen0307/AdapterBias): w is as wide as the MLP's hidden layer, v as wide as
the tower, v starts at zero. The shift is a rank-1 update of the weight and one of the bias, so it
runs as such and folds exactly. The repository also trains the LayerNorm behind the MLP and the
head; CLIP's ``ln_2`` stands before the MLP, and trains with ``norm``. ``share``: one w and b_alpha
for all layers of a tower.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.kit import BOTH_TOWERS, Adapter, Block, Clip, Method, Ref, Task, TowerName


@dataclass(frozen=True)
class AdapterBias(Method):
    paper = "Fu et al., 2022"
    fidelity = "code"
    recipe = {"train.lr": 1e-4}

    share: bool = False
    norm: bool = False
    layers: str = "all"
    towers: tuple[TowerName, ...] = BOTH_TOWERS

    def attach(self, clip: Clip, task: Task) -> Adapter:
        adapter = Adapter(clip)
        for tower in clip.towers(self.towers):
            alpha = _alpha(adapter, tower.name, tower.hidden) if self.share else None
            for block in tower.blocks(self.layers):
                _shift(adapter, block, alpha or _alpha(adapter, block.key, block.hidden))
                if self.norm:
                    _train_norm(adapter, block)
        return adapter


def _alpha(adapter: Adapter, home: str, hidden: int) -> Ref:
    """w (1, hidden) and b_alpha (1,) out of one tensor, drawn as a default nn.Linear."""
    bound = 1 / math.sqrt(hidden)
    drawn = torch.empty(1, hidden + 1).uniform_(-bound, bound)
    owned = adapter.own(f"{home}.alpha", nn.Parameter(drawn))
    return adapter.derive(f"{home}.alpha_parts", _parts, owned)


def _shift(adapter: Adapter, block: Block, alpha: Ref) -> None:
    v = adapter.own(f"{block.key}.v", nn.Parameter(torch.zeros(block.width)))
    up = adapter.derive(f"{block.key}.up", _column, v)
    adapter.add(block.site("proj"), down=alpha[0], up=up)
    adapter.reweight(block.site("proj"), _shifted, v, alpha[1], part="bias")


def _train_norm(adapter: Adapter, block: Block) -> None:
    site = block.site("ln_2")
    for part, frozen in (("weight", adapter.clip.weight(site)), ("bias", adapter.clip.bias(site))):
        mine = adapter.own(f"{block.key}.ln_2.{part}", nn.Parameter(frozen.clone()))
        adapter.reweight(site, _instead, mine, part=part)


def _parts(alpha: Tensor) -> tuple[Tensor, Tensor]:
    return alpha[:, :-1], alpha[0, -1:]


def _column(v: Tensor) -> Tensor:
    return v.unsqueeze(-1)


def _shifted(frozen: Tensor, v: Tensor, alpha_bias: Tensor) -> Tensor:
    return frozen + alpha_bias * v


def _instead(frozen: Tensor, mine: Tensor) -> Tensor:
    return mine
