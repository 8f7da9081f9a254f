"""Where a method begins when not at the frozen model: what another run learnt, layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from methods.kit.core.clip import QKV, Block, Site
from methods.kit.core.errors import UsageError
from methods.kit.core.field_types import Activation

BlockKey = tuple[str, int]  # tower and block


@dataclass(frozen=True)
class SourceAdapter:
    """The adapter of one layer, y + act(y down) up behind the MLP; its scale is in ``up``."""

    down: Tensor  # (width, bottleneck)
    up: Tensor  # (bottleneck, width)
    activation: Activation


class Matrices(NamedTuple):
    """The adapters of some layers, stacked."""

    down: Tensor  # (L, width, bottleneck)
    up: Tensor  # (L, bottleneck, width)


@dataclass(frozen=True)
class SourceWeights:
    """What the run named ``run`` learnt: adapters behind MLPs, or updates (out, in) of weights.

    Raises UsageError where a method that asks is not made as the run was.
    """

    run: str
    adapters: Mapping[BlockKey, SourceAdapter]
    updates: Mapping[Site, Tensor]

    def check_towers(self, towers: Sequence[str]) -> None:
        """The run and the method must act in the same towers."""
        there = {tower for tower, _ in self.adapters} | {site.tower for site in self.updates}
        if there != set(towers):
            words = ",".join(sorted(there))
            raise UsageError(
                f"method.towers: run {self.run} acts in {' and '.join(sorted(there))};"
                f" say method.towers={words}"
            )

    def matrices(
        self, blocks: Sequence[Block], bottleneck: int, activation: Activation
    ) -> Matrices:
        """The adapters of these blocks."""
        if not self.adapters:
            raise UsageError(
                f"method.form: run {self.run} learnt updates of weights; say method.form=delta"
            )
        self._check_layers({i for t, i in self.adapters if t == blocks[0].tower}, blocks)
        found = [self.adapters[block.tower, block.index] for block in blocks]
        for pair in found:
            there = pair.down.shape[1]
            if there != bottleneck:
                raise UsageError(
                    f"method.bottleneck: {bottleneck}, but the adapters of run {self.run} are"
                    f" {there} wide; say method.bottleneck={there}"
                )
            if pair.activation != activation:
                raise UsageError(
                    f"method.activation: {activation!r}, but run {self.run} has"
                    f" {pair.activation!r}; say method.activation={pair.activation}"
                )
        downs, ups = ([getattr(p, side) for p in found] for side in ("down", "up"))
        return Matrices(torch.stack(downs), torch.stack(ups))

    def changes(self, sites: Sequence[Site]) -> Tensor:
        """The updates of these sites of one tower: (sites, out, in)."""
        return torch.stack([self.updates[site] for site in sites])

    def check_sites(self, blocks: Sequence[Block], names: Sequence[str]) -> None:
        """The run must have updated these sites of these blocks, and in their tower no others."""
        if not self.updates:
            raise UsageError(
                f"method.form: run {self.run} learnt adapters; say method.form=adapter"
            )
        mine = [site for site in self.updates if site.tower == blocks[0].tower]
        wanted = {block.site(name) for block in blocks for name in names}
        if {_word(site) for site in mine} != {_word(site) for site in wanted}:
            words = ",".join(dict.fromkeys(_word(site) for site in mine))
            raise UsageError(
                f"method.sites: run {self.run} updates {words}; say method.sites={words}"
            )
        self._check_layers({int(site.layer or 0) for site in mine}, blocks)
        if set(mine) != wanted:
            raise UsageError(f"method.start: run {self.run} updates other sites in some blocks")

    def _check_layers(self, there: set[int], blocks: Sequence[Block]) -> None:
        if there != {block.index for block in blocks}:
            words = ",".join(str(i + 1) for i in sorted(there))
            raise UsageError(
                f"method.layers: run {self.run} acts in blocks {words} of the {blocks[0].tower}"
                f" tower; say method.layers={words}"
            )


def _word(site: Site) -> str:
    """q, k, v and o as people say them."""
    if site.name == "qkv" and site.rows is not None:
        return QKV[site.rows[0] // site.shape[1]]
    return "o" if site.name == "out_proj" else site.name
