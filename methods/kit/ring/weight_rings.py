"""Updates of weights as rings: dW of all layers, and of sites of one shape, as one ring."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from methods.kit.binding.wiring import Ref
from methods.kit.contract.adapter import Adapter
from methods.kit.contract.source_weights import SourceWeights
from methods.kit.core.clip import Block, Site
from methods.kit.core.errors import UsageError
from methods.kit.ring import initialise
from methods.kit.ring.adapter_rings import Rank
from methods.kit.ring.decompose import Cores
from methods.kit.ring.ring import Homes

Grouping = Literal["shape", "site"]


@dataclass(frozen=True)
class Group:
    """Weights of one shape: their common name and their sites, block by block."""

    name: str
    members: int  # sites a block
    sites: tuple[Site, ...]

    @property
    def shape(self) -> tuple[int, int]:
        out, width = self.sites[0].shape
        return out, width


def groups(blocks: Sequence[Block], names: Sequence[str], grouping: Grouping) -> list[Group]:
    """The sites of blocks as groups: all of one shape as one longer layer axis, or one a name."""
    if not names:
        raise UsageError("method.sites: name at least one of q, k, v, o, fc, proj")
    found: dict[object, list[str]] = {}
    for name in dict.fromkeys(names):
        key = blocks[0].site(name).shape if grouping == "shape" else name
        found.setdefault(key, []).append(name)
    return [
        Group(
            "_".join(members),
            len(members),
            tuple(b.site(name) for b in blocks for name in members),
        )
        for members in found.values()
    ]


def fits(
    adapter: Adapter, group: Group, ranks: Sequence[Rank], scale: float, start: SourceWeights | None
) -> list[Cores | None]:
    """For each rank cores to begin with: near the updates of ``start``, or what is left of them."""
    if start is None:
        return [None] * len(ranks)
    whole = start.changes(group.sites)
    rest, found = whole / scale, []
    for rank in ranks:
        near = initialise.fit(rest, rank.slice, rank.plain)
        rest = rest - near.made
        found.append(near.cores)
    initialise.report(adapter, f"{group.sites[0].tower}.{group.name}", whole, whole - scale * rest)
    return found


def attach_weight_updates(
    adapter: Adapter,
    group: Group,
    rank: Rank,
    factored: bool,
    scale: float,
    gate: Ref | None = None,
    shared: bool = False,
    dropout: float = 0.0,
    cores: Cores | None = None,
) -> None:
    """W_l += scale * D_l with D a ring of modes (L, out, in), as LoRA's pair (B, A) = D_l.

    D_l = A_l B runs as a LoRA of rank r2 min(r0, r1) and folds into the weight. Where that rank
    leaves nothing to save, D_l is made whole once a step. ``shared``: the cores of both widths
    belong to both towers, which must be equally wide. ``dropout`` acts on the input of each
    update, which then runs as a LoRA whatever it costs. ``cores``: to begin with, else random.
    """
    tower, part = group.sites[0].tower, f"{group.name}.{rank.label}".rstrip(".")
    if gate is not None:
        gate = adapter.derive(f"{tower}.{part}.gate", partial(_each, count=group.members), gate)
    out, width = group.shape
    ring = rank.ring_of(len(group.sites), out, width, factored)
    home = f"shared.{part}" if shared else f"{tower}.{part}"
    homes = Homes(f"{tower}.{part}", home, home)
    refs = ring.own(adapter, homes, width, slice(None), cores)
    chains = ring.chains(adapter, f"{tower}.{part}", refs, gate, apart=dropout > 0)
    for site, chain in zip(group.sites, chains, strict=True):
        if len(chain) == 2:
            adapter.add(site, down=chain[1], up=chain[0], scale=scale, dropout=dropout)
        else:
            adapter.reweight(site, partial(torch.add, alpha=scale), chain[0])


def _each(gate: Tensor, count: int) -> Tensor:
    """Gates of layers (L,) for ``count`` sites in each."""
    return gate.repeat_interleave(count)
