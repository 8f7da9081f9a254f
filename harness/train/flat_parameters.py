"""Trained parameters in few flat buffers: one for all trials with the same optimizer group.

A buffer (trials, numbers) is the leaf tensor of autograd. The parameters of each trial's adapter
are views of its row, so an adapter is always up to date. The optimizer sees one row per trial and
needs a kernel launch or two for all of them instead of some for each tensor. Parameters that must
be updated separately have buffers of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from methods.kit.contract.adapter import Adapter

MAX_FLAT_NUMBERS = 1 << 22  # above, one more copy of the gradients costs more than the launches


@dataclass(frozen=True)
class OptimizerGroup:
    """An optimizer group: learning-rate factor and weight decay."""

    lr_factor: float
    decays: bool


class ParameterBuffer:
    """Parameters of one optimizer group, of all trials of a stack."""

    def __init__(
        self, group: OptimizerGroup, names: Sequence[str], adapters: Sequence[Adapter]
    ) -> None:
        first = adapters[0].trained()
        self.group, self.names = group, tuple(names)
        self.shapes = tuple(first[name].shape for name in names)
        self.sizes = [prod(shape) for shape in self.shapes]
        with torch.no_grad():
            rows = [
                torch.cat([a.trained()[name].detach().reshape(-1) for name in names])
                for a in adapters
            ]
            self._use(torch.stack(rows), adapters)

    def _use(self, numbers: Tensor, adapters: Sequence[Adapter]) -> None:
        self.tensor = numbers.requires_grad_()
        self.rows = [nn.Parameter(row) for row in self.tensor.detach().unbind()]
        for row, adapter in zip(self.rows, adapters, strict=True):
            owned, parts = adapter.trained(), row.detach().split(self.sizes)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True):
                owned[name].data = part.view(shape)

    def by_name(self, numbers: Tensor, single: bool) -> dict[str, Tensor]:
        """Split a tensor laid out as this buffer; ``single``: one trial, without a trial axis."""
        lead = () if single else (len(self.rows),)
        parts = (numbers.view(-1) if single else numbers).split(self.sizes, -1)
        pairs = zip(parts, self.shapes, strict=True)
        return dict(zip(self.names, (p.reshape((*lead, *s)) for p, s in pairs), strict=True))

    def assign_gradients(self) -> None:
        """Give each trial's row its gradient."""
        grad = self.tensor.grad
        for k, row in enumerate(self.rows):
            row.grad = None if grad is None else grad[k]

    def select(self, places: Sequence[int], adapters: Sequence[Adapter]) -> dict[Tensor, Tensor]:
        """Continue with some of the trials. Return the new row of each old one that stays."""
        old = self.rows
        self._use(self.tensor.detach()[list(places)].clone(), adapters)
        return {old[place]: row for place, row in zip(places, self.rows, strict=True)}


def parameter_buffers(adapters: Sequence[Adapter]) -> list[ParameterBuffer]:
    """Return the buffers of equally wired adapters; weights decay, vectors and scalars do not."""
    first = adapters[0]
    groups: dict[OptimizerGroup, list[str]] = {}
    for name, value in first.trained().items():
        group = OptimizerGroup(first.lr_factor(name), value.dim() >= 2)
        groups.setdefault(group, []).append(name)
    separate = _separate_names(first)
    buffers = []
    for group, names in sorted(groups.items(), key=lambda g: (g[0].lr_factor, g[0].decays)):
        flat = [name for name in names if name not in separate]
        buffers += [ParameterBuffer(group, flat, adapters)] if flat else []
        buffers += [ParameterBuffer(group, [n], adapters) for n in names if n in separate]
    return buffers


def _separate_names(adapter: Adapter) -> set[str]:
    """Parameters with a buffer of their own: inactive in some steps, trained by one term of the
    loss alone, or large."""
    wiring, owned = adapter.wiring, adapter.trained()
    if any(penalty.exclusive for penalty in wiring.penalties):
        return set(owned)
    if sum(p.numel() for p in owned.values()) > MAX_FLAT_NUMBERS:
        return set(owned)
    return {n for draw in wiring.draws.values() for names in draw.parameters for n in names}
