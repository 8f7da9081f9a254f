"""SFA (Deng et al., 2023, arXiv 2310.01843): external adapters plus a few chosen weights.

The abstract, which is all that was available, says: external adapters are extra MLPs in manually
chosen places; internal adapters change a few task-important parameters of the transformer, found
by a simple lottery-ticket algorithm; together they serve any budget of trainable parameters. The
rest is our reading, for CLIP instead of a dense-prediction Swin:

1. Search: all weights of ``sites`` train for ``search_epochs`` from the frozen W to W'.
2. Ticket: the k entries of all these weights with the largest |W' - W|.
3. Rewind to W; then train W + m * d, with d at those k entries only, and external adapters
   y + gelu(y A + a) B + c after the MLPs of ``layers``. B and d start at zero.

k is ``share`` of the parameters of a tower's blocks, or what a ``budget`` leaves besides the
external adapters, so that exactly as many parameters train as it says. The search reads training
data only and costs as much as full fine-tuning: its seconds and bytes are in the run's metrics
(time/stages_seconds, memory/stages_bytes). The places of the entries are saved with d and counted
as stored. d is a vector of k numbers: masked entries have neither momentum nor decay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from methods import find
from methods.kit import Adapter, Block, Clip, Method, Stage, Task, Tower, UsageError
from methods.kit.core.field_types import (
    BOTH_TOWERS,
    Fraction,
    LinearSite,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    TowerName,
)
from methods.kit.parts.bottleneck import attach_bottleneck, own_branch

SEARCH = "search"
ALL: tuple[LinearSite, ...] = ("q", "k", "v", "o", "fc", "proj")


@dataclass(frozen=True)
class SFA(Method):
    paper = "Deng et al., 2023"
    fidelity = "reading"
    recipe = {"train.lr": 1e-3}

    bottleneck: PositiveInt = 8
    share: Fraction = 0.001
    budget: NonNegativeInt = 0  # trainable parameters in total; 0: as `share` says
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
        """Attach both kinds. Without the state of the search, entries are spread evenly."""
        adapter = Adapter(clip)
        towers = list(clip.towers(self.towers))
        for block in clip.blocks(self.towers, self.layers):
            branch = own_branch(adapter, block, self.bottleneck)
            attach_bottleneck(adapter, block, [branch], "gelu")
        external = sum(p.numel() for p in adapter.trained().values())
        for tower, k in zip(towers, self._entries(clip, towers, external), strict=True):
            if k:
                self._internal(adapter, tower, k, task.earlier.get(SEARCH))
        return adapter

    def _entries(self, clip: Clip, towers: Sequence[Tower], external: int) -> list[int]:
        """Return the number of trained entries in each tower. Raises UsageError."""
        sizes = [_parameters(clip, tower) for tower in towers]
        if self.budget:
            left = self.budget - external
            if left < 0:
                raise UsageError(
                    f"method.budget: {self.budget} is less than the {external} parameters of the"
                    " external adapters; lower method.bottleneck or name fewer method.layers"
                )
            ends = [left * sum(sizes[: i + 1]) // sum(sizes) for i in range(len(sizes))]
            entries = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        else:
            entries = [int(self.share * size) for size in sizes] if self.sites else [0] * len(sizes)
        for tower, k in zip(towers, entries, strict=True):
            limit = sum(_size(block, name) for block in tower.blocks() for name in self.sites)
            if k > limit:
                raise UsageError(
                    f"method.sites: {k} entries are to train in the {tower.name} tower, its"
                    f" {', '.join(self.sites) or 'no sites'} have {limit}"
                )
        return entries

    def _internal(
        self, adapter: Adapter, tower: Tower, k: int, moved: Mapping[str, Tensor] | None
    ) -> None:
        """Train k entries of the tower's weights, numbered across all of them."""
        names = [(block, name) for block in tower.blocks() for name in self.sites]
        total = sum(_size(block, name) for block, name in names)
        if moved is None:
            places = torch.arange(k) * total // k
        else:
            size = torch.cat([moved[f"{b.key}.{name}"].flatten().abs() for b, name in names])
            places = size.topk(k).indices.sort().values.to(torch.get_default_device())
        owned = adapter.own(f"{tower.name}.places", places.to(torch.int32))
        values = adapter.own(f"{tower.name}.values", nn.Parameter(torch.zeros(k)))
        start = 0
        for block, name in names:
            adapter.reweight(block.site(name), partial(_plus, start=start), values, owned)
            start += _size(block, name)


def _parameters(clip: Clip, tower: Tower) -> int:
    """Count all parameters of a tower's blocks."""
    return sum(
        w.numel()
        for n, w in clip.weights.items()
        if n.split(".")[0] == tower.name and n.split(".")[1].isdigit()
    )


def _size(block: Block, name: str) -> int:
    out, width = block.site(name).shape
    return out * width


def _plus(frozen: Tensor, values: Tensor, places: Tensor, start: int) -> Tensor:
    """Return W + d, where the entries of W are numbered from ``start``."""
    size = frozen.shape[0] * frozen.shape[1]
    index = places.long() - start
    inside = (index >= 0) & (index < size)
    update = torch.zeros(size + 1, dtype=values.dtype, device=values.device)
    # entries of other weights are added to one extra place at the end
    update = update.scatter_add(0, torch.where(inside, index, size), values)
    return frozen + update[:size].unflatten(0, frozen.shape)
