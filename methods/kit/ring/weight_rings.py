"""Weight updates of all layers, and of all sites of one shape, as one tensor ring."""

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
from methods.kit.ring.initialise import fit_ring, report_error
from methods.kit.ring.ranks import Rank
from methods.kit.ring.ring import CoreNames, Cores

Grouping = Literal["shape", "site"]


@dataclass(frozen=True)
class SiteGroup:
    """Weights of one shape: their common name, and their sites, block by block."""

    name: str
    per_block: int  # sites in each block
    sites: tuple[Site, ...]

    @property
    def shape(self) -> tuple[int, int]:
        out, width = self.sites[0].shape
        return out, width


def group_sites(
    blocks: Sequence[Block], names: Sequence[str], grouping: Grouping
) -> list[SiteGroup]:
    """Group the sites of blocks: all of one shape on one layer axis, or one group a name."""
    if not names:
        raise UsageError("method.sites: name at least one of q, k, v, o, fc, proj")
    groups: dict[object, list[str]] = {}
    for name in dict.fromkeys(names):
        key = blocks[0].site(name).shape if grouping == "shape" else name
        groups.setdefault(key, []).append(name)
    return [
        SiteGroup("_".join(g), len(g), tuple(b.site(name) for b in blocks for name in g))
        for g in groups.values()
    ]


def fit_updates(
    adapter: Adapter,
    group: SiteGroup,
    ranks: Sequence[Rank],
    scale: float,
    start: SourceWeights | None,
) -> list[Cores | None]:
    """Return initial cores for each rank, fitted to what is left of the updates of ``start``."""
    if start is None:
        return [None] * len(ranks)
    whole = start.stacked_updates(group.sites)
    rest, cores = whole / scale, []
    for rank in ranks:
        fit = fit_ring(rest, rank)
        rest = rest - fit.made
        cores.append(fit.cores)
    row = f"{group.sites[0].tower}.{group.name}"
    report_error(adapter, row, whole, whole - scale * rest)
    return cores


def attach_updates(
    adapter: Adapter,
    group: SiteGroup,
    rank: Rank,
    factored: bool,
    scale: float,
    gate: Ref | None = None,
    shared: bool = False,
    dropout: float = 0.0,
    cores: Cores | None = None,
) -> None:
    """Attach W_l + scale * D_l with D a ring of modes (L, out, in).

    D_l = A_l B runs as a LoRA pair of rank r2 min(r0, r1) and folds into the weight. Where that
    rank saves nothing, D_l is materialized once a step. ``shared``: both towers, of one width,
    share the cores of the widths. ``dropout`` acts on the input of each update, which then runs as
    a LoRA pair at any cost. ``cores``: initial cores; random if None.
    """
    tower, part = group.sites[0].tower, f"{group.name}.{rank.label}".rstrip(".")
    if gate is not None:
        gate = adapter.derive(f"{tower}.{part}.gate", partial(_repeat, count=group.per_block), gate)
    out, width = group.shape
    ring = rank.ring_of(len(group.sites), out, width, factored)
    core = f"shared.{part}" if shared else f"{tower}.{part}"
    refs = ring.own(adapter, CoreNames(f"{tower}.{part}", core, core), width, slice(None), cores)
    chains = ring.chains(adapter, f"{tower}.{part}", refs, gate, always_factored=dropout > 0)
    for site, chain in zip(group.sites, chains, strict=True):
        if len(chain) == 2:
            adapter.add(site, down=chain[1], up=chain[0], scale=scale, dropout=dropout)
        else:
            adapter.reweight(site, partial(torch.add, alpha=scale), chain[0])


def _repeat(gate: Tensor, count: int) -> Tensor:
    """Repeat the gate of each layer (L,) for its ``count`` sites."""
    return gate.repeat_interleave(count)
