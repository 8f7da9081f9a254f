"""Weights of another run, layer by layer, from which a method is initialized."""

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
    """The adapter of one layer, y + act(y down) up after the MLP; its scale is in ``up``."""

    down: Tensor  # (width, bottleneck)
    up: Tensor  # (bottleneck, width)
    activation: Activation


class StackedAdapters(NamedTuple):
    """The adapters of several layers."""

    down: Tensor  # (L, width, bottleneck)
    up: Tensor  # (L, bottleneck, width)


@dataclass(frozen=True)
class SourceWeights:
    """The weights of the run named ``run``: adapters after MLPs, or updates (out, in) of weights.

    Raises UsageError where the settings of the requesting method do not match the run's.
    """

    run: str
    adapters: Mapping[BlockKey, SourceAdapter]
    updates: Mapping[Site, Tensor]

    def check_towers(self, towers: Sequence[str]) -> None:
        """Check that the run and the method act in the same towers."""
        used = sorted({tower for tower, _ in self.adapters} | {s.tower for s in self.updates})
        if used != sorted(set(towers)):
            raise UsageError(
                f"method.towers: run {self.run} acts in {' and '.join(used)};"
                f" say method.towers={','.join(used)}"
            )

    def stacked_adapters(
        self, blocks: Sequence[Block], bottleneck: int, activation: Activation
    ) -> StackedAdapters:
        """Return the adapters of these blocks."""
        if not self.adapters:
            raise UsageError(
                f"method.form: run {self.run} learned updates of weights; say method.form=delta"
            )
        self._check_layers({i for t, i in self.adapters if t == blocks[0].tower}, blocks)
        found = [self.adapters[block.tower, block.index] for block in blocks]
        for adapter in found:
            width = adapter.down.shape[1]
            if width != bottleneck:
                raise UsageError(
                    f"method.bottleneck: {bottleneck}, but the adapters of run {self.run} are"
                    f" {width} wide; say method.bottleneck={width}"
                )
            if adapter.activation != activation:
                raise UsageError(
                    f"method.activation: {activation!r}, but run {self.run} has"
                    f" {adapter.activation!r}; say method.activation={adapter.activation}"
                )
        return StackedAdapters(
            torch.stack([a.down for a in found]), torch.stack([a.up for a in found])
        )

    def stacked_updates(self, sites: Sequence[Site]) -> Tensor:
        """Return the updates of these sites of one tower: (sites, out, in)."""
        return torch.stack([self.updates[site] for site in sites])

    def check_sites(self, blocks: Sequence[Block], names: Sequence[str]) -> None:
        """Check that, in the tower of these blocks, the run updated exactly these sites."""
        if not self.updates:
            raise UsageError(
                f"method.form: run {self.run} learned adapters; say method.form=adapter"
            )
        updated = [site for site in self.updates if site.tower == blocks[0].tower]
        expected = {block.site(name) for block in blocks for name in names}
        if {_word(site) for site in updated} != {_word(site) for site in expected}:
            words = ",".join(dict.fromkeys(_word(site) for site in updated))
            raise UsageError(
                f"method.sites: run {self.run} updates {words}; say method.sites={words}"
            )
        self._check_layers({int(site.layer or 0) for site in updated}, blocks)
        if set(updated) != expected:
            raise UsageError(f"method.start: run {self.run} updates other sites in some blocks")

    def _check_layers(self, used: set[int], blocks: Sequence[Block]) -> None:
        if used != {block.index for block in blocks}:
            words = ",".join(str(i + 1) for i in sorted(used))
            raise UsageError(
                f"method.layers: run {self.run} acts in blocks {words} of the {blocks[0].tower}"
                f" tower; say method.layers={words}"
            )


def _word(site: Site) -> str:
    """Return the name of a site as settings have it, with q, k, v and o."""
    if site.name == "qkv" and site.rows is not None:
        return QKV[site.rows[0] // site.shape[1]]
    return "o" if site.name == "out_proj" else site.name
