"""Adapters of different methods or sizes resolved together: one frozen product for all of them.

Each part is a `Bound` with a trial axis of its own; here their axes lie one behind the other. Where
only low-rank paths hang, ranks are padded with zeros, which learn nothing: all trials share the
frozen product and one pair of small ones. Anything else is asked of each part for its trials.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.kit.binding import low_rank_kernels
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.binding.linear import FOLD_ABOVE, Rows, cut, low_rank, plain_linear
from methods.kit.binding.wiring import Attached, Wiring
from methods.kit.core.clip import Key


def union(wirings: Sequence[Wiring]) -> Wiring:
    """Everything that hangs anywhere: what a tower asks before it runs."""
    whole = Wiring()
    for wiring in wirings:
        for key, attached in wiring.sites.items():
            there = whole.sites.setdefault(key, Attached())
            for name in vars(attached):
                getattr(there, name).extend(getattr(attached, name))
        whole.reports.extend(wiring.reports)
        whole.penalties.extend(wiring.penalties)
    return whole


class Cotrained(BoundAdapter):
    """Parts (each with trials) as one Bound over all trials."""

    def __init__(self, whole: Wiring, parts: Sequence[BoundAdapter]) -> None:
        super().__init__(whole, {}, sum(p.trials or 1 for p in parts))
        self.noise = parts[0].noise
        self.parts = list(parts)
        self.starts = [0]
        for part in parts:
            self.starts.append(self.starts[-1] + (part.trials or 1))
        self._padded: dict[Key, tuple[Tensor, Tensor]] = {}
        self.inactive = [
            (where.start + k, n) for part, where in self._each for k, n in part.inactive
        ]

    @property
    def _each(self) -> Iterator[tuple[BoundAdapter, slice]]:
        for part, start, stop in zip(self.parts, self.starts, self.starts[1:], strict=False):
            yield part, slice(start, stop)

    def next_pass(self) -> "Cotrained":
        return Cotrained(self.wiring, [part.next_pass() for part in self.parts])

    def before(self, key: Key, x: Tensor, n: int) -> Tensor:
        attached = self.at(key)
        if attached is None or not attached.before:
            return x
        return self._gather(lambda part, where: part.before(key, _of(x, where), n), 2)

    def after(self, key: Key, x: Tensor, y: Tensor, n: int) -> Tensor:
        attached = self.at(key)
        if attached is None or not attached.after:
            return y
        return self._gather(lambda part, where: part.after(key, _of(x, where), _of(y, where), n), 2)

    def tensor(self, key: Key, frozen: Tensor, part: str = "weight") -> Tensor:
        attached = self.at(key)
        if attached is None or not getattr(attached, part):
            return frozen
        return self._gather(lambda one, _: one.tensor(key, frozen, part), frozen.dim())

    def linear(
        self, key: Key, x: Tensor, weight: Tensor, bias: Tensor | None, rows: Rows | None = None
    ) -> Tensor:
        attached = self.at(key)
        if attached is None:
            return plain_linear(x, cut(weight, rows, 2), cut(bias, rows, 1))
        if attached.weight or attached.bias:
            return self._gather(
                lambda part, where: part.linear(key, _of(x, where), weight, bias, rows), 2
            )
        w, b = cut(weight, rows, 2), cut(bias, rows, 1)
        if self.noise is not None and any(add.dropout for add in attached.adds):
            y = plain_linear(x, w, b)
            return self._gather(
                lambda part, where: part.beside(key, _of(x, where), _of(y, where), weight, rows),
                2,
            )
        down, up = self._pairs(key, weight)
        if down.shape[-2] > FOLD_ABOVE * min(weight.shape):
            return plain_linear(x, cut(weight + up @ down, rows, 2), b)
        up = cut(up, rows, 2)
        if low_rank_kernels.fits(x, w, b, down, up):
            return low_rank_kernels.linear(x, w, b, down, up)
        return low_rank(plain_linear(x, w, b), x, down, up)

    def norm(
        self, key: Key, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        attached = self.at(key)
        if attached is None or not (attached.weight or attached.bias):
            return super().norm(key, x, weight, bias, eps)
        return self._gather(lambda part, where: part.norm(key, _of(x, where), weight, bias, eps), 2)

    def score(self, image: Tensor, text: Tensor, scale: Tensor, known: bool = True) -> Tensor:
        def mine(part: BoundAdapter, where: slice) -> Tensor:
            return part.score(_of(image, where), _of(text, where), _of(scale, where, 0), known)

        return self._gather(mine, 2)

    def penalty(self, step: Any) -> Tensor | None:
        found = [part.penalty(step.of(where)) for part, where in self._each]
        if all(value is None for value in found):
            return None
        zero = step.logits.new_zeros(())
        pairs = zip(found, self.parts, strict=True)
        return torch.cat(
            [(zero if value is None else value).expand(part.trials or 1) for value, part in pairs]
        )

    def exclusive_penalties(self, step: Any) -> list[tuple[slice, tuple[str, ...], Tensor]]:
        return [
            (where, names, term)
            for part, where in self._each
            for _, names, term in part.exclusive_penalties(step.of(where))
        ]

    def _pairs(self, key: Key, weight: Tensor) -> tuple[Tensor, Tensor]:
        """All low-rank paths of a site: down (K, R, in), up (K, out, R) with R the largest rank."""
        if key not in self._padded:
            pairs = [part.pair(key, weight) for part in self.parts]
            rank = max(pair[0].shape[-2] for pair in pairs if pair)
            out, into = weight.shape
            downs, ups = [], []
            for part, pair in zip(self.parts, pairs, strict=True):
                if pair is None:
                    downs.append(weight.new_zeros(part.trials or 1, rank, into))
                    ups.append(weight.new_zeros(part.trials or 1, out, rank))
                else:
                    short = rank - pair[0].shape[-2]
                    downs.append(F.pad(pair[0], (0, 0, 0, short)))
                    ups.append(F.pad(pair[1], (0, short)))
            self._padded[key] = torch.cat(downs), torch.cat(ups)
        return self._padded[key]

    def _gather(self, ask: Callable[[BoundAdapter, slice], Tensor], base: int) -> Tensor:
        """What each part says of its trials, one behind the other."""
        said = []
        for part, where in self._each:
            value = ask(part, where)
            if value.dim() == base:
                value = value.expand(part.trials or 1, *value.shape)
            said.append(value)
        return torch.cat(said)


def _of(x: Tensor, where: slice, base: int = 2) -> Tensor:
    """The trials of a part, where there is a trial axis."""
    return x[where] if x.dim() > base else x
