"""Bottleneck adapters of all layers as tensor rings, in one of several readings of AdaRing.

AdaRing's abstract says that the adapters of all layers are a tensor ring with layer-shared cores
and layer-specific slices. It says neither which tensor nor how many rings; each reading is one
answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from methods.kit.binding.wiring import Ref
from methods.kit.contract.adapter import Adapter
from methods.kit.contract.source_weights import StackedAdapters
from methods.kit.core.clip import Block
from methods.kit.parts.bottleneck import Branch
from methods.kit.ring.initialise import fit_ring, report_error
from methods.kit.ring.ranks import Rank
from methods.kit.ring.ring import CoreNames, Cores

Reading = Literal["two_rings", "one_ring", "factored", "parallel"]
Share = Literal["tower", "both"]


@dataclass(frozen=True)
class FittedAdapters:
    """Cores of the rings of down and up (of one ring: the first), and their matrices."""

    cores: tuple[Cores | None, Cores | None]
    made: StackedAdapters


@dataclass(frozen=True)
class AdapterRings:
    """Bottleneck adapters in blocks of one tower, as rings of one rank.

    ``two_rings``, ``parallel``: D_l of a ring with modes (L, d, b), U_l of one with (L, b, d).
    ``one_ring``: D_l and U_l^T of one ring with modes (2 L, d, b); down and up share both cores.
    ``factored``: as two rings, with d and b written as small factors. ``share="both"``: both
    towers share the cores of the bottleneck's modes; other cores and slices belong to one tower.
    """

    blocks: Sequence[Block]
    bottleneck: int
    reading: Reading
    share: Share
    rank: Rank

    @property
    def tower(self) -> str:
        return self.blocks[0].tower

    def own(
        self, adapter: Adapter, gate: Ref | None = None, start: FittedAdapters | None = None
    ) -> list[Branch]:
        """Own the cores, new or those of ``start``. Return one branch a layer.

        ``gate`` (layers,) multiplies the branch of each layer.
        """
        cores = (None, None) if start is None else start.cores
        own = self._own_one if self.reading == "one_ring" else self._own_two
        return own(adapter, gate, *cores)

    def fit(self, start: StackedAdapters) -> FittedAdapters:
        """Fit rings to matrices; ``one_ring`` gives both sides the same weight."""
        if self.reading != "one_ring":
            down, up = (fit_ring(matrices, self.rank) for matrices in start)
            return FittedAdapters((down.cores, up.cores), StackedAdapters(down.made, up.made))
        sizes = [m.norm().clamp(min=1e-300) for m in start]
        both = fit_ring(torch.cat((start.down / sizes[0], start.up.mT / sizes[1])), self.rank)
        down, up = both.made.split(len(self.blocks))
        made = StackedAdapters(down * sizes[0], up.mT * sizes[1])
        if both.cores is None:
            return FittedAdapters((None, None), made)
        slices, left, right = both.cores
        scale = torch.stack(sizes).repeat_interleave(len(self.blocks))
        return FittedAdapters(((slices * scale[:, None], left, right), None), made)

    def _own_one(
        self, adapter: Adapter, gate: Ref | None, cores: Cores | None, _: Cores | None
    ) -> list[Branch]:
        width, layers = self.blocks[0].width, len(self.blocks)
        ring = self.rank.ring_of(2 * layers, width, self.bottleneck, False)
        names = self._names("ring", wide="left")
        refs = ring.own(adapter, names, width, slice(layers, None), cores)
        if gate is not None:
            gate = adapter.derive(f"{names.slices}.gate", _only_up, gate)
        chains = ring.chains(adapter, names.slices, refs, gate)
        pairs = zip(chains[:layers], chains[layers:], strict=True)
        return [Branch(d, u[::-1], transposed=True, label=self.rank.label) for d, u in pairs]

    def _own_two(
        self, adapter: Adapter, gate: Ref | None, down_cores: Cores | None, up_cores: Cores | None
    ) -> list[Branch]:
        layers, width, small = len(self.blocks), self.blocks[0].width, self.bottleneck
        factored = self.reading == "factored"
        down = self.rank.ring_of(layers, width, small, factored)
        up = self.rank.ring_of(layers, small, width, factored, reverse=True)
        names = self._names("down", wide="left")
        refs = down.own(adapter, names, width, cores=down_cores)
        downs = down.chains(adapter, names.slices, refs)
        names = self._names("up", wide="right")
        refs = up.own(adapter, names, small, slice(None), up_cores)
        pairs = zip(downs, up.chains(adapter, names.slices, refs, gate), strict=True)
        return [Branch(d, u, label=self.rank.label) for d, u in pairs]

    def name(self, part: str) -> str:
        """Return ``image.down``, or ``image.down.2x4`` if there are several rings."""
        return f"{self.tower}.{part}.{self.rank.label}".rstrip(".")

    def _names(self, part: str, wide: Literal["left", "right"]) -> CoreNames:
        """Return the names of the cores; ``wide`` is the side of the tower's width."""
        mine = self.name(part)
        other = mine.replace(self.tower, "shared", 1) if self.share == "both" else mine
        return CoreNames(mine, mine, other) if wide == "left" else CoreNames(mine, other, mine)


def fit_adapters(
    adapter: Adapter, rings: Sequence[AdapterRings], start: StackedAdapters | None, scale: float
) -> list[FittedAdapters | None]:
    """Return initial cores of several rings, near the adapters of ``start``.

    All are fitted to its down matrices, and each to what those before it leave of the up matrices.
    """
    if start is None:
        return [None] * len(rings)
    fits: list[FittedAdapters | None] = []
    rest = start.up / scale
    for ring in rings:
        fit = ring.fit(StackedAdapters(start.down, rest))
        rest = rest - fit.made.up
        report_error(adapter, ring.name("down"), start.down, fit.made.down)
        fits.append(fit)
    report_error(adapter, f"{rings[0].tower}.up", start.up, start.up - scale * rest)
    return fits


def _only_up(gate: Tensor) -> Tensor:
    """Extend gates (L,) to the 2 L matrices of one ring: 1 for the down half."""
    return torch.cat((torch.ones_like(gate), gate))
