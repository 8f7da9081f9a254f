"""Adaptable Adapters (Moosavi et al., 2022, arXiv 2205.01549): activation and place are learnt.

Behind the MLP of every block, inside the residual branch, y becomes y + w (f(y A + a) B + c), with

    f(x) = (a_0 + a_1 x + .. + a_5 x^5) / (1 + |b_1 x| + .. + |b_4 x^4|)

learnt for each adapter, in fp32, and a switch w = softmax((l + g) / temperature) of two logits,
skip and adapter, with Gumbel noise g; outside of training the larger logit decides. As in the
repository (UKPLab/adaptable-adapters) there are two stages: all layers train with switches, then
new adapters without switches train in the layers whose switch prefers its adapter (in the one that
prefers it most, if none does). ``focus=false`` is the first stage alone. Which layers were chosen
is in the tables of the result.

Weights are drawn from N(0, 0.02), so the adapted model does not start as the frozen one. ``init``:
f begins close to GELU (``gelu``, one of the repository's) or as 1 (``one``, the repository's
default, where A learns nothing until f has a slope, and b, at a kink, may never move); ``frozen``
is ``gelu`` with B zero. Learning rates of switches and f are 500 and 100 times that of the
adapters. Departure: one Gumbel sample a layer for the whole batch, where the repository draws one
for each example.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from methods.kit import (
    BOTH_TOWERS,
    Adapter,
    Block,
    Clip,
    Method,
    PositiveFloat,
    PositiveInt,
    Ref,
    Stage,
    Task,
    Tower,
    TowerName,
)
from methods.kit.parts import dense_adapter, rational_activation

SWITCHES = "switches"  # the stage, and the table of what it preferred
CHOSEN = "chosen_layers"


@dataclass(frozen=True)
class AdaptableAdapters(Method):
    paper = "Moosavi et al., 2022"
    fidelity = "code"
    recipe = {"train.lr": 1e-4}

    reduction: PositiveInt = 16
    focus: bool = True
    temperature: PositiveFloat = 0.1
    init: Literal["gelu", "one", "frozen"] = "gelu"
    switch_rate: PositiveFloat = 500.0  # times the learning rate
    rational_rate: PositiveFloat = 100.0
    layers: str = "all"
    towers: tuple[TowerName, ...] = BOTH_TOWERS

    @property
    def identity(self) -> bool:
        return self.init == "frozen"

    def stages(self) -> Mapping[str, Stage]:
        return {SWITCHES: Stage(replace(self, focus=False))} if self.focus else {}

    def attach(self, clip: Clip, task: Task) -> Adapter:
        """Without the first stage's state this is the first stage."""
        adapter = Adapter(clip)
        past = task.earlier.get(SWITCHES)
        towers = list(clip.towers(self.towers))
        blocks = [block for tower in towers for block in tower.blocks(self.layers)]
        chosen = None if past is None else preferred(past, [block.key for block in blocks])
        for tower in towers:
            mine = [block for block in blocks if block.tower == tower.name]
            if chosen is None:
                self._switched(adapter, tower, mine)
            else:
                self._chosen(adapter, tower, mine, chosen)
        return adapter

    def _switched(self, adapter: Adapter, tower: Tower, blocks: list[Block]) -> None:
        rest, draw = torch.zeros(len(blocks), 3), partial(_gumbel, layers=len(blocks))
        drawn = adapter.draw(f"{tower.name}.gumbel", rest, draw)
        fn = partial(_switch, temperature=self.temperature)
        for i, block in enumerate(blocks):
            logits = nn.Parameter(torch.full((2,), 0.5))
            switch = adapter.own(f"{block.key}.switch", logits, self.switch_rate)
            weight = adapter.derive(f"{block.key}.weight", fn, switch, drawn[i])
            self._adapter(adapter, block, weight)
            row = f"{block.tower}.{block.index + 1}"
            adapter.report(SWITCHES, _itself, switch, row=row, columns=("skip", "adapter"))

    def _chosen(
        self, adapter: Adapter, tower: Tower, blocks: list[Block], chosen: set[str]
    ) -> None:
        on = [float(block.key in chosen) for block in blocks]
        kept = adapter.own(f"{tower.name}.chosen", torch.tensor(on))
        columns = [str(block.index + 1) for block in blocks]
        adapter.report(CHOSEN, _itself, kept, row=tower.name, columns=columns)
        for block in blocks:
            if block.key in chosen:
                self._adapter(adapter, block)

    def _adapter(self, adapter: Adapter, block: Block, *weight: Ref) -> None:
        small = max(1, block.width // self.reduction)
        drawn: dense_adapter.Init = "kaiming" if self.init == "frozen" else "normal"
        own = dense_adapter.own(adapter, block, small, drawn)
        start = rational_activation.ONE if self.init == "one" else rational_activation.GELU
        f = adapter.own(
            f"{block.key}.rational", nn.Parameter(torch.tensor(start)), self.rational_rate
        )
        adapter.after(block.site("mlp"), _adapt, *own.refs, f, *weight)


def preferred(state: Mapping[str, Tensor], keys: list[str]) -> set[str]:
    """The keys of blocks whose switch prefers its adapter; at least one, if there are any."""
    lean = {}
    for key in keys:
        skip, adapter = state[f"{key}.switch"].tolist()
        lean[key] = adapter - skip
    return {key for key in keys if lean[key] > 0} or {max(keys, key=lambda key: lean[key])}


def _gumbel(_: float, rng: torch.Generator, layers: int) -> Tensor:
    """Two Gumbel samples for each layer, and a 1 that says so: (layers, 3)."""
    u = torch.rand(layers, 2, generator=rng, device="cpu").clamp_min(1e-9)
    return torch.cat((-(-u.log()).log(), torch.ones(layers, 1, device="cpu")), 1)


def _switch(logits: Tensor, drawn: Tensor, temperature: float) -> Tensor:
    """The weight of the adapter. Outside of training it is 0 or 1, with the gradient of the soft
    one; equal logits keep the adapter."""
    soft = ((logits + drawn[:2]) / temperature).softmax(-1)[1]
    hard = (logits[1] >= logits[0]).to(soft)
    return torch.where(drawn[2] > 0, soft, hard + soft - soft.detach())


def _adapt(
    _x: Tensor,
    y: Tensor,
    down: Tensor,
    down_bias: Tensor,
    up: Tensor,
    up_bias: Tensor,
    coefficients: Tensor,
    *weight: Tensor,
) -> Tensor:
    delta = rational_activation.apply(y @ down + down_bias, coefficients) @ up + up_bias
    return y + (weight[0] * delta if weight else delta)


def _itself(x: Tensor) -> Tensor:
    return x
