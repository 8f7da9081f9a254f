"""What trains, in few flat buffers: one for all trials of one shape, rate and decay.

The buffer (trials, numbers) is the leaf of autograd; the parameters of each trial's adapter are
views into its row, so that an adapter is always as far as its training. The optimiser sees a row a
trial: a launch or two for all tensors of all trials with the same rates, where it would be some for
each tensor. What must move tensor by tensor has a buffer for each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from methods.kit.contract.adapter import Adapter

MAX_FLAT_NUMBERS = (
    1 << 22
)  # numbers; above, one more copy of the gradients costs more than launches


@dataclass(frozen=True)
class OptimizerGroup:
    """What the optimiser does alike: the factor on the learning rate, and whether it decays."""

    rate: float
    decays: bool


class ParameterBuffer:
    """Tensors of one kind, of every trial of a group."""

    def __init__(
        self, kind: OptimizerGroup, names: Sequence[str], adapters: Sequence[Adapter]
    ) -> None:
        first = adapters[0].trained()
        self.kind, self.names = kind, tuple(names)
        self.shapes = tuple(first[name].shape for name in names)
        self.sizes = [prod(shape) for shape in self.shapes]
        with torch.no_grad():
            rows = [
                torch.cat([a.trained()[name].detach().reshape(-1) for name in names])
                for a in adapters
            ]
            self._take(torch.stack(rows), adapters)

    def _take(self, numbers: Tensor, adapters: Sequence[Adapter]) -> None:
        self.buffer = numbers.requires_grad_()
        self.rows = [nn.Parameter(row) for row in self.buffer.detach().unbind()]
        for row, adapter in zip(self.rows, adapters, strict=True):
            owned = adapter.trained()
            for name, part, shape in zip(
                self.names, row.detach().split(self.sizes), self.shapes, strict=True
            ):
                owned[name].data = part.view(shape)

    def values(self, lone: bool) -> dict[str, Tensor]:
        """The tensors by name for one step: with a trial axis, or of the one trial without."""
        return self.named(self.buffer, lone)

    def named(self, numbers: Tensor, lone: bool) -> dict[str, Tensor]:
        """What lies in a buffer like this one's."""
        lead = () if lone else (len(self.rows),)
        parts = (numbers.view(-1) if lone else numbers).split(self.sizes, -1)
        pairs = zip(parts, self.shapes, strict=True)
        return dict(zip(self.names, (p.reshape((*lead, *s)) for p, s in pairs), strict=True))

    def hand_over(self) -> None:
        """Give each trial's row its gradient."""
        grad = self.buffer.grad
        for k, row in enumerate(self.rows):
            row.grad = None if grad is None else grad[k]

    def keep(self, places: Sequence[int], adapters: Sequence[Adapter]) -> dict[nn.Parameter, int]:
        """Go on with some of the trials. Returns each old row that stays, and its new place."""
        old = self.rows
        self._take(self.buffer.detach()[list(places)].clone(), adapters)
        return {old[place]: k for k, place in enumerate(places)}


def parameter_buffers(adapters: Sequence[Adapter]) -> list[ParameterBuffer]:
    """The buffers of adapters of one shape; weights decay, vectors and scalars do not."""
    first = adapters[0]
    kinds: dict[OptimizerGroup, list[str]] = {}
    for name, value in first.trained().items():
        kinds.setdefault(OptimizerGroup(first.lr_factor(name), value.dim() >= 2), []).append(name)
    apart = _separate_names(first)
    made = []
    for kind, names in sorted(kinds.items(), key=lambda item: (item[0].rate, item[0].decays)):
        flat = [name for name in names if name not in apart]
        made += [ParameterBuffer(kind, flat, adapters)] if flat else []
        made += [ParameterBuffer(kind, [name], adapters) for name in names if name in apart]
    return made


def _separate_names(adapter: Adapter) -> set[str]:
    """What has a buffer of its own: parts that sleep in some steps, are trained by a term of the
    loss alone, or are large."""
    wiring, owned = adapter.wiring, adapter.trained()
    if any(penalty.exclusive for penalty in wiring.penalties):
        return set(owned)
    inactive = {n for draw in wiring.draws.values() for names in draw.parameters for n in names}
    large = sum(p.numel() for p in owned.values()) > MAX_FLAT_NUMBERS
    return {name for name, p in owned.items() if large or name in inactive}
