"""SFA (Deng et al., 2023, arXiv 2310.01843): adapters outside, a few chosen weights inside.

Confirmed by the abstract, which is all that could be had: external adapters are extra MLPs in
places chosen by hand, internal ones change a few task-important parameters of the transformer,
found by a simple lottery-ticket algorithm; both together serve any budget of trainable parameters.
The rest is our reading, for CLIP in place of a dense-prediction Swin:

1. The search: all weights of ``sites`` train for ``search_epochs`` from the frozen W to W'.
2. The ticket: the k entries of all these weights with the largest |W' - W|.
3. Rewind to W; then train W + m * d, with d at those k entries alone, and external adapters
   y + gelu(y A + a) B + c behind the MLPs of ``layers``. B and d start at zero.

k is ``share`` of the parameters of a tower's blocks, or what a ``budget`` leaves beside the
external adapters, so that exactly as many parameters train as it says. The search sees the training
data and takes what full fine-tuning takes: its seconds and bytes are in the run's metrics
(time/stages_seconds, memory/stages_bytes). Where each entry stands is kept and saved beside d and
counted as stored. d is a vector of k numbers: nothing that is masked has a momentum or decays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from methods import find
from methods.kit import (
    BOTH_TOWERS,
    Adapter,
    Block,
    Clip,
    Fraction,
    LinearSite,
    Method,
    PositiveFloat,
    PositiveInt,
    Stage,
    Task,
    Tower,
    TowerName,
    UsageError,
)
from methods.kit.parts import dense_adapter

SEARCH = "search"
ALL: tuple[LinearSite, ...] = ("q", "k", "v", "o", "fc", "proj")


@dataclass(frozen=True)
class SFA(Method):
    paper = "Deng et al., 2023"
    fidelity = "reading"
    recipe = {"train.lr": 1e-3}

    bottleneck: PositiveInt = 8
    share: Fraction = 0.001
    budget: Annotated[int, Ge(0)] = 0  # trainable parameters in all; 0: as `share` says
    sites: tuple[LinearSite, ...] = ALL
    search_epochs: PositiveInt = 3
    search_lr: PositiveFloat = 1e-5
    layers: str = "all"  # of the external adapters
    towers: tuple[TowerName, ...] = BOTH_TOWERS

    def stages(self) -> Mapping[str, Stage]:
        if not self.sites or not (self.share or self.budget):
            return {}
        words = {"form": "delta", "sites": self.sites, "towers": self.towers}
        settings = {"train.epochs": self.search_epochs, "train.lr": self.search_lr}
        return {SEARCH: Stage(find("full_rank")(**words), {**settings, "train.weight_decay": 0.0})}

    def attach(self, clip: Clip, task: Task) -> Adapter:
        """Without the search's state the entries are spread evenly."""
        adapter = Adapter(clip)
        towers = list(clip.towers(self.towers))
        for tower in towers:
            for block in tower.blocks(self.layers):
                dense_adapter.attach_dense(
                    adapter, block, dense_adapter.own(adapter, block, self.bottleneck), "gelu"
                )
        outside = sum(p.numel() for p in adapter.trained().values())
        for tower, k in zip(towers, self._entries(clip, towers, outside), strict=True):
            if k:
                self._inside(adapter, tower, k, task.earlier.get(SEARCH))
        return adapter

    def _entries(self, clip: Clip, towers: Sequence[Tower], outside: int) -> list[int]:
        """How many entries train in each tower. Raises UsageError."""
        sizes = [_parameters(clip, tower) for tower in towers]
        if self.budget:
            left = self.budget - outside
            if left < 0:
                raise UsageError(
                    f"method.budget: {self.budget} is less than the {outside} parameters of the"
                    " external adapters; lower method.bottleneck or name fewer method.layers"
                )
            ends = [left * sum(sizes[: i + 1]) // sum(sizes) for i in range(len(sizes))]
            entries = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        else:
            entries = [int(self.share * size) for size in sizes] if self.sites else [0] * len(sizes)
        for tower, k in zip(towers, entries, strict=True):
            most = sum(_size(block, name) for block in tower.blocks() for name in self.sites)
            if k > most:
                raise UsageError(
                    f"method.sites: {k} entries are to train in the {tower.name} tower, its"
                    f" {', '.join(self.sites) or 'no sites'} have {most}"
                )
        return entries

    def _inside(
        self, adapter: Adapter, tower: Tower, k: int, moved: Mapping[str, Tensor] | None
    ) -> None:
        """Train k entries of the tower's weights, numbered through all of them."""
        names = [(block, name) for block in tower.blocks() for name in self.sites]
        total = sum(_size(block, name) for block, name in names)
        if moved is None:
            places = torch.arange(k) * total // k
        else:
            far = torch.cat([moved[f"{block.key}.{name}"].flatten().abs() for block, name in names])
            places = far.topk(k).indices.sort().values.to(torch.get_default_device())
        kept = adapter.own(f"{tower.name}.places", places.to(torch.int32))
        values = adapter.own(f"{tower.name}.values", nn.Parameter(torch.zeros(k)))
        start = 0
        for block, name in names:
            adapter.reweight(block.site(name), partial(_plus, start=start), values, kept)
            start += _size(block, name)


def _parameters(clip: Clip, tower: Tower) -> int:
    """All parameters of a tower's blocks."""
    stem = f"{tower.name}."
    found = {n: w for n, w in clip.weights.items() if n.startswith(stem)}
    return sum(w.numel() for n, w in found.items() if n.removeprefix(stem)[0].isdigit())


def _size(block: Block, name: str) -> int:
    out, width = block.site(name).shape
    return out * width


def _plus(frozen: Tensor, values: Tensor, places: Tensor, start: int) -> Tensor:
    """W + d, where the entries of W are numbered from ``start``."""
    size = frozen.shape[0] * frozen.shape[1]
    here = places.long() - start
    inside = (here >= 0) & (here < size)
    none = torch.zeros(size + 1, dtype=values.dtype, device=values.device)
    spread = none.scatter_add(
        0, torch.where(inside, here, size), values
    )  # the rest piles up behind
    return frozen + spread[:size].unflatten(0, frozen.shape)
