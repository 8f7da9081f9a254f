"""Adaptable Adapters (Moosavi et al., 2022, arXiv 2205.01549): learned activations and layers.

On the output y of the MLP of every block, inside the residual branch, y + w (f(y A + a) B + c):

- f is a rational function with learned coefficients, one for each adapter
  (methods/kit/parts/rational_activation.py).
- w = softmax((l + g) / temperature) switches between skip and adapter by two logits l with Gumbel
  noise g. Outside of training the larger logit decides.

As in the repository (UKPLab/adaptable-adapters), there are two stages. The first trains all layers
with switches. The second trains new adapters without switches in the layers whose switch prefers
the adapter, or in the one that prefers it most. ``focus=false`` is the first stage alone. The
result has a table of the chosen layers.

Weights are drawn from N(0, 0.02), so the adapted model does not start as the frozen one. ``init``:
f starts close to GELU (``gelu``, one of the repository's); as the constant 1 (``one``, the
repository's default, where A learns nothing until f has a slope, and b, at a kink, may never
move); ``frozen`` is ``gelu`` with B zero. Switches and f learn at 500 and 100 times the learning
rate of the adapters. Departure: one Gumbel sample a layer for the whole batch; the repository
draws one for each example.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from methods.kit import Adapter, Block, Clip, Method, Ref, Stage, Task, Tower
from methods.kit.core.field_types import BOTH_TOWERS, PositiveFloat, PositiveInt, TowerName
from methods.kit.parts.bottleneck import own_branch
from methods.kit.parts.rational_activation import GELU, ONE, rational
from methods.kit.parts.routing import block_label

SWITCHES = "switches"  # name of the stage, and of the table of logits
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
        """Attach the second stage, or the first if its state is not given."""
        adapter = Adapter(clip)
        switches = task.earlier.get(SWITCHES)
        blocks = list(clip.blocks(self.towers, self.layers))
        chosen = None if switches is None else preferred(switches, [b.key for b in blocks])
        for tower in clip.towers(self.towers):
            mine = [block for block in blocks if block.tower == tower.name]
            if chosen is None:
                self._switched(adapter, tower, mine)
            else:
                self._chosen(adapter, tower, mine, chosen)
        return adapter

    def _switched(self, adapter: Adapter, tower: Tower, blocks: list[Block]) -> None:
        draw = partial(_gumbel, layers=len(blocks))
        noise = adapter.draw(f"{tower.name}.gumbel", torch.zeros(len(blocks), 3), draw)
        fn = partial(_switch, temperature=self.temperature)
        for i, block in enumerate(blocks):
            logits = nn.Parameter(torch.full((2,), 0.5))
            switch = adapter.own(f"{block.key}.switch", logits, self.switch_rate)
            weight = adapter.derive(f"{block.key}.weight", fn, switch, noise[i])
            self._adapter(adapter, block, weight)
            row, columns = block_label(block), ("skip", "adapter")
            adapter.report(SWITCHES, torch.clone, switch, row=row, columns=columns)

    def _chosen(
        self, adapter: Adapter, tower: Tower, blocks: list[Block], chosen: set[str]
    ) -> None:
        mask = torch.tensor([float(block.key in chosen) for block in blocks])
        owned = adapter.own(f"{tower.name}.chosen", mask)
        columns = [str(block.index + 1) for block in blocks]
        adapter.report(CHOSEN, torch.clone, owned, row=tower.name, columns=columns)
        for block in blocks:
            if block.key in chosen:
                self._adapter(adapter, block)

    def _adapter(self, adapter: Adapter, block: Block, *weight: Ref) -> None:
        small = max(1, block.width // self.reduction)
        branch = own_branch(adapter, block, small, "kaiming" if self.init == "frozen" else "normal")
        start = nn.Parameter(torch.tensor(ONE if self.init == "one" else GELU))
        f = adapter.own(f"{block.key}.rational", start, self.rational_rate)
        adapter.after(block.site("mlp"), _adapt, *branch.refs, f, *weight)


def preferred(state: Mapping[str, Tensor], keys: list[str]) -> set[str]:
    """Return the keys of blocks whose switch prefers the adapter; at least one, if any."""
    margin = {}
    for key in keys:
        skip, adapter = state[f"{key}.switch"].tolist()
        margin[key] = adapter - skip
    return {key for key in keys if margin[key] > 0} or {max(keys, key=lambda key: margin[key])}


def _gumbel(_: float, rng: torch.Generator, layers: int) -> Tensor:
    """Return two Gumbel samples for each layer, and a 1 that marks training: (layers, 3)."""
    u = torch.rand(layers, 2, generator=rng, device="cpu").clamp_min(1e-9)
    return torch.cat((-(-u.log()).log(), torch.ones(layers, 1, device="cpu")), 1)


def _switch(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Return the weight of the adapter.

    Outside of training it is 0 or 1, with the gradient of the soft weight; equal logits keep the
    adapter.
    """
    soft = ((logits + noise[:2]) / temperature).softmax(-1)[1]
    hard = (logits[1] >= logits[0]).to(soft)
    return torch.where(noise[2] > 0, soft, hard + soft - soft.detach())


def _adapt(
    _x: Tensor,
    y: Tensor,
    down: Tensor,
    up: Tensor,
    down_bias: Tensor,
    up_bias: Tensor,
    coefficients: Tensor,
    *weight: Tensor,
) -> Tensor:
    delta = rational(y @ down + down_bias, coefficients) @ up + up_bias
    return y + (weight[0] * delta if weight else delta)
