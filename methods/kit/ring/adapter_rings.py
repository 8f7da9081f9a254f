"""How adapters become rings: the readings of AdaRing, as functions from sizes to rings.

AdaRing's abstract says that adapters of all layers are one tensor ring with layer-shared cores and
layer-specific slices. It says neither which tensor nor how many rings; each reading is one answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from methods.kit.binding.wiring import Ref
from methods.kit.contract.adapter import Adapter
from methods.kit.contract.source_weights import Matrices
from methods.kit.core.clip import Block, Tower
from methods.kit.core.errors import UsageError
from methods.kit.parts.bottleneck import Branch, Place
from methods.kit.ring import initialise
from methods.kit.ring.decompose import Cores
from methods.kit.ring.ring import Homes, Ring
from methods.kit.ring.tensor_ring import modes_of

Reading = Literal["two_rings", "one_ring", "factored", "parallel"]
Share = Literal["tower", "both"]


@dataclass(frozen=True)
class Rank:
    """The ranks of one ring: between shared cores (one, or one for each bond), and a slice."""

    ring: int | tuple[int, ...]
    slice: tuple[int, int]
    label: str = ""

    @property
    def plain(self) -> int:
        """The ring rank of a ring of order 3."""
        return self.ring if isinstance(self.ring, int) else self.ring[0]

    @property
    def smallest(self) -> int:
        return self.ring if isinstance(self.ring, int) else min(self.ring)

    def ring_of(
        self, layers: int, rows: int, cols: int, factored: bool, reverse: bool = False
    ) -> Ring:
        """The ring of a stack of matrices; ``reverse``: ranks are listed from right to left."""
        m, n = (modes_of(rows), modes_of(cols)) if factored else ((rows,), (cols,))
        bonds = len(m) + len(n) - 1
        ranks = (self.ring,) * bonds if isinstance(self.ring, int) else self.ring
        if len(ranks) != bonds:
            raise UsageError(
                f"method.ring_rank: {len(ranks)} ranks for {bonds} bonds between the shared cores"
                f" (modes {' '.join(map(str, (*m, *n)))})"
            )
        return Ring(layers, m, n, self.slice, ranks[::-1] if reverse else ranks)

    def check(self, tower: Tower) -> None:
        """Raises UsageError for a rank above the width of a tower."""
        rings = (self.ring,) if isinstance(self.ring, int) else self.ring
        for name, ranks in (("ring_rank", rings), ("slice_size", self.slice)):
            for rank in ranks:
                if rank > tower.width:
                    raise UsageError(
                        f"method.{name}: {rank} is larger than the width {tower.width}"
                        f" of the {tower.name} tower"
                    )


def ranks(
    ring_rank: int | tuple[int, ...],
    slice_size: int | tuple[int, int],
    several: Sequence[tuple[int, int]],
) -> list[Rank]:
    """One rank, or ``several`` as (ring rank, slice size). Raises UsageError for equal ones."""
    if len(set(several)) < len(several):
        raise UsageError("method.ranks: two rings of the same ranks are one wider ring")
    if several:
        return [Rank(ring, (size, size), f"{ring}x{size}") for ring, size in several]
    pair = (slice_size, slice_size) if isinstance(slice_size, int) else slice_size
    return [Rank(ring_rank, pair)]


def lowest(several: Sequence[Rank]) -> Rank:
    """The one whose matrices have the smallest rank; of rings with one ring rank each."""
    return min(several, key=lambda rank: rank.smallest * min(rank.slice))


# --- where a reading has its adapters ---------------------------------------------------------


def blocks(reading: Reading, layers: str, tower: Tower) -> list[Block]:
    """The blocks that ``layers`` names; ``auto``: all, or the upper two thirds, as in MMA."""
    if layers == "auto":
        upper = max(1, round(tower.depth * 2 / 3))
        layers = f"top:{upper}" if reading == "parallel" else "all"
    return list(tower.blocks(layers))


def place(reading: Reading) -> Place:
    """Behind the MLP, or beside the whole block."""
    return "block" if reading == "parallel" else "mlp"


def scale(reading: Reading, given: float | Literal["auto"]) -> float:
    """What adapters are multiplied by; ``auto``: 1, or MMA's 0.001."""
    if given == "auto":
        return 0.001 if reading == "parallel" else 1.0
    return given


def check_shared(towers: Sequence[Tower], deltas: bool) -> None:
    """Raises UsageError where towers cannot share cores: adapters share those of the bottleneck,
    updates those of the widths, which must be the same."""
    if len(towers) < 2:
        raise UsageError("method.share: 'both' needs both towers in method.towers")
    one, two = towers
    if deltas and (one.width, one.hidden) != (two.width, two.hidden):
        raise UsageError(
            "method.share: 'both' in delta form needs towers of one width, these are"
            f" {one.width} and {two.width} wide"
        )


Sides = tuple[Cores | None, Cores | None]  # of the rings of down and up; one ring: the first


@dataclass(frozen=True)
class Fits:
    """Cores near given matrices, and the matrices that they make."""

    cores: Sides
    made: Matrices


def check_start(reading: Reading, share: Share) -> None:
    """Raises UsageError for readings that no decomposition is made for."""
    if reading not in ("two_rings", "one_ring"):
        raise UsageError(f"method.start: goes with two_rings or one_ring, not {reading!r}")
    if share != "tower":
        raise UsageError(f"method.start: goes with method.share=tower, not {share!r}")


@dataclass(frozen=True)
class Adapters:
    """Bottleneck adapters in ``layers`` blocks of a tower, as rings of one rank."""

    tower: Tower
    layers: int
    bottleneck: int
    reading: Reading
    share: Share
    rank: Rank

    def own(
        self, adapter: Adapter, gate: Ref | None = None, start: "Fits | None" = None
    ) -> list[Branch]:
        """Own the cores; one branch a layer. ``gate`` (layers,) weighs the branch of each layer.

        ``two_rings``, ``parallel``: D_l of a ring with modes (L, d, b), U_l of one with (L, b, d).
        ``one_ring``: D_l and U_l^T of one ring with modes (2 L, d, b); down and up share both
        cores. ``factored``: as two rings, with d and b written as small factors.
        ``share="both"``: the cores of the bottleneck's modes are one for both towers; those of the
        width and the slices stay with their tower. ``start``: cores to begin with.
        """
        cores = (None, None) if start is None else start.cores
        own = self._one if self.reading == "one_ring" else self._two
        return own(adapter, gate, cores)

    def fit(self, start: Matrices) -> "Fits":
        """Cores of rings near these matrices; ``one_ring`` gives both sides the same weight."""
        if self.reading != "one_ring":
            down, up = (initialise.fit(m, self.rank.slice, self.rank.plain) for m in start)
            return Fits((down.cores, up.cores), Matrices(down.made, up.made))
        sizes = [m.norm().clamp(min=1e-300) for m in start]
        stack = torch.cat((start.down / sizes[0], start.up.mT / sizes[1]))
        both = initialise.fit(stack, self.rank.slice, self.rank.plain)
        made = both.made.split(self.layers)
        made = Matrices(made[0] * sizes[0], made[1].mT * sizes[1])
        if both.cores is None:
            return Fits((None, None), made)
        slices, *shared = both.cores
        each = torch.stack(sizes).repeat_interleave(self.layers)
        return Fits(((slices * each[:, None], shared[0], shared[1]), None), made)

    def _one(self, adapter: Adapter, gate: Ref | None, cores: Sides) -> list[Branch]:
        width, layers = self.tower.width, self.layers
        ring = self.rank.ring_of(2 * layers, width, self.bottleneck, False)
        homes = self._homes("ring", wide="left")
        refs = ring.own(adapter, homes, width, slice(layers, None), cores[0])
        if gate is not None:
            gate = adapter.derive(f"{homes.slices}.gate", _only_up, gate)
        chains = ring.chains(adapter, homes.slices, refs, gate)
        pairs = zip(chains[:layers], chains[layers:], strict=True)
        return [Branch(d, u[::-1], True, self.rank.label) for d, u in pairs]

    def _two(self, adapter: Adapter, gate: Ref | None, cores: Sides) -> list[Branch]:
        layers, width, small = self.layers, self.tower.width, self.bottleneck
        factored = self.reading == "factored"
        down = self.rank.ring_of(layers, width, small, factored)
        up = self.rank.ring_of(layers, small, width, factored, reverse=True)
        homes = self._homes("down", wide="left")
        refs = down.own(adapter, homes, width, cores=cores[0])
        downs = down.chains(adapter, homes.slices, refs)
        homes = self._homes("up", wide="right")
        refs = up.own(adapter, homes, small, slice(None), cores[1])
        pairs = zip(downs, up.chains(adapter, homes.slices, refs, gate), strict=True)
        return [Branch(d, u, False, self.rank.label) for d, u in pairs]

    def row(self, part: str) -> str:
        """``image.down``, or ``image.down.2x4`` of several rings."""
        part = f"{part}.{self.rank.label}" if self.rank.label else part
        return f"{self.tower.name}.{part}"

    def _homes(self, part: str, wide: Literal["left", "right"]) -> Homes:
        """Where the cores are owned; ``wide`` is the side of the tower's width."""
        mine = self.row(part)
        other = mine.replace(self.tower.name, "shared", 1) if self.share == "both" else mine
        return Homes(mine, mine, other) if wide == "left" else Homes(mine, other, mine)


def fits(
    adapter: Adapter, stacks: Sequence[Adapters], start: Matrices | None, scale: float
) -> list[Fits | None]:
    """For each of several rings cores to begin with, near the adapters of ``start``.

    All begin near its down matrices, and each near what those before it leave of the up matrices.
    """
    if start is None:
        return [None] * len(stacks)
    found: list[Fits | None] = []
    rest = start.up / scale
    for stack in stacks:
        near = stack.fit(Matrices(start.down, rest))
        rest = rest - near.made.up
        initialise.report(adapter, stack.row("down"), start.down, near.made.down)
        found.append(near)
    tower = stacks[0].tower.name
    initialise.report(adapter, f"{tower}.up", start.up, start.up - scale * rest)
    return found


def _only_up(gate: Tensor) -> Tensor:
    """Gates (L,) for the 2 L matrices of one ring: the down half is left alone."""
    return torch.cat((torch.ones_like(gate), gate))
