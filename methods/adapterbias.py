"""AdapterBias (Fu et al., 2022, Findings of NAACL): one shift direction, weighted by token.

At the second linear map of every MLP, with h its input (the hidden activations),

    y = W h + b + alpha v,   alpha = w . h + b_alpha   (one number a token)

As in the repository (Allen0307/AdapterBias), w is as wide as the MLP's hidden layer, v as wide as
the tower, and v starts at zero. The shift is a rank-1 update of the weight and an update of the
bias; it runs as such and folds exactly. The repository also trains the LayerNorm after the MLP
and the head; CLIP's ``ln_2`` is before the MLP, and trains with ``norm``. ``share``: one w and
b_alpha for all layers of a tower.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.kit import Adapter, Block, Clip, Method, Ref, Task
from methods.kit.core.field_types import BOTH_TOWERS, TowerName
from methods.kit.parts.frozen_copy import train_copy
from methods.kit.parts.initial_values import linear_init


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
                for part in ("weight", "bias") if self.norm else ():
                    train_copy(adapter, f"{block.key}.ln_2.{part}", block.site("ln_2"), part)
        return adapter


def _alpha(adapter: Adapter, name: str, hidden: int) -> Ref:
    """Own w (1, hidden) and b_alpha (1,) as one tensor, drawn as a default nn.Linear."""
    weights = nn.Parameter(linear_init(1, hidden + 1, fan_in=hidden))
    owned = adapter.own(f"{name}.alpha", weights)
    return adapter.derive(f"{name}.alpha_parts", _split, owned)


def _shift(adapter: Adapter, block: Block, alpha: Ref) -> None:
    v = adapter.own(f"{block.key}.v", nn.Parameter(torch.zeros(block.width)))
    up = adapter.derive(f"{block.key}.up", _column, v)
    adapter.add(block.site("proj"), down=alpha[0], up=up)
    adapter.reweight(block.site("proj"), _shifted, v, alpha[1], part="bias")


def _split(alpha: Tensor) -> tuple[Tensor, Tensor]:
    return alpha[:, :-1], alpha[0, -1:]


def _column(v: Tensor) -> Tensor:
    return v.unsqueeze(-1)


def _shifted(bias: Tensor, v: Tensor, alpha_bias: Tensor) -> Tensor:
    return bias + alpha_bias * v
