"""Adapters of different methods or sizes as one, which share the products of frozen weights.

Each part is a `BoundAdapter` over its own trials; here the trials of all parts are concatenated.
Low-rank paths are padded with zeros to one rank, which changes no number, and run as one pair.
Everything else is computed by each part for its own trials.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.binding.linear import Rows, cut, plain_linear
from methods.kit.binding.low_rank_kernels import Pair
from methods.kit.binding.wiring import Attached, Wiring
from methods.kit.core.clip import Key


def union(wirings: Sequence[Wiring]) -> Wiring:
    """Return the sites, reports and penalties of several adapters as one wiring."""
    whole = Wiring()
    for wiring in wirings:
        for key, site in wiring.sites.items():
            merged = whole.sites.setdefault(key, Attached())
            for name in vars(site):
                getattr(merged, name).extend(getattr(site, name))
        whole.reports.extend(wiring.reports)
        whole.penalties.extend(wiring.penalties)
    return whole


class Cotrained(BoundAdapter):
    """Bound adapters, each over its trials, as one over all trials."""

    def __init__(self, whole: Wiring, parts: Sequence[BoundAdapter]) -> None:
        super().__init__(whole, {}, sum(p.trials or 1 for p in parts))
        self.noise = parts[0].noise
        self.parts: list[tuple[BoundAdapter, slice]] = []
        stop = 0
        for part in parts:
            start, stop = stop, stop + (part.trials or 1)
            self.parts.append((part, slice(start, stop)))
            self.inactive += [(start + k, name) for k, name in part.inactive]

    def next_pass(self) -> "Cotrained":
        return Cotrained(self.wiring, [part.next_pass() for part, _ in self.parts])

    def before(self, key: Key, x: Tensor, n: int) -> Tensor:
        site = self.at(key)
        if site is None or not site.before:
            return x
        return self._gather(lambda part, trials: part.before(key, _of(x, trials), n), 2)

    def after(self, key: Key, x: Tensor, y: Tensor, n: int) -> Tensor:
        site = self.at(key)
        if site is None or not site.after:
            return y
        return self._gather(lambda p, trials: p.after(key, _of(x, trials), _of(y, trials), n), 2)

    def tensor(self, key: Key, frozen: Tensor, part: str = "weight") -> Tensor:
        site = self.at(key)
        if site is None or not getattr(site, part):
            return frozen
        return self._gather(lambda one, _: one.tensor(key, frozen, part), frozen.dim())

    def linear(
        self, key: Key, x: Tensor, weight: Tensor, bias: Tensor | None, rows: Rows | None = None
    ) -> Tensor:
        site = self.at(key)
        if site and (site.weight or site.bias):
            return self._gather(
                lambda part, trials: part.linear(key, _of(x, trials), weight, bias, rows), 2
            )
        if site and self.noise is not None and any(add.dropout for add in site.adds):
            y = plain_linear(x, cut(weight, rows, 2), cut(bias, rows, 1))
            return self._gather(
                lambda part, trials: part.add_low_rank(
                    key, _of(x, trials), _of(y, trials), len(weight), rows
                ),
                2,
            )
        return super().linear(key, x, weight, bias, rows)

    def norm(
        self, key: Key, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        site = self.at(key)
        if site is None or not (site.weight or site.bias):
            return super().norm(key, x, weight, bias, eps)
        return self._gather(lambda p, trials: p.norm(key, _of(x, trials), weight, bias, eps), 2)

    def score(self, image: Tensor, text: Tensor, scale: Tensor, known: bool = True) -> Tensor:
        def logits(part: BoundAdapter, trials: slice) -> Tensor:
            return part.score(_of(image, trials), _of(text, trials), _of(scale, trials, 0), known)

        return self._gather(logits, 2)

    def penalty(self, step: Any) -> Tensor | None:
        terms = [part.penalty(step.of(trials)) for part, trials in self.parts]
        if all(term is None for term in terms):
            return None
        zero = step.logits.new_zeros(())
        pairs = zip(terms, self.parts, strict=True)
        return torch.cat(
            [(zero if term is None else term).expand(p.trials or 1) for term, (p, _) in pairs]
        )

    def exclusive_penalties(self, step: Any) -> list[tuple[slice, tuple[str, ...], Tensor]]:
        return [
            (trials, names, term)
            for part, trials in self.parts
            for _, names, term in part.exclusive_penalties(step.of(trials))
        ]

    def _fuse(self, key: Key, out: int, rate: float | None = None) -> Pair:
        """Return the paths of all parts: down (K, R, in), up (K, out, R), R the largest rank."""
        if (key, rate) not in self._fused:
            pairs = [part.pair(key, out) for part, _ in self.parts]
            some = next(pair[0] for pair in pairs if pair)
            rank = max(pair[0].shape[-2] for pair in pairs if pair)
            downs, ups = [], []
            for (part, _), pair in zip(self.parts, pairs, strict=True):
                if pair is None:
                    pair = (
                        some.new_zeros(part.trials or 1, rank, some.shape[-1]),
                        some.new_zeros(part.trials or 1, out, rank),
                    )
                missing = rank - pair[0].shape[-2]
                downs.append(F.pad(pair[0], (0, 0, 0, missing)))
                ups.append(F.pad(pair[1], (0, missing)))
            self._fused[key, rate] = torch.cat(downs), torch.cat(ups)
        return self._fused[key, rate]

    def _gather(self, ask: Callable[[BoundAdapter, slice], Tensor], base: int) -> Tensor:
        """Concatenate what each part computes for its trials; ``base``: axes without trials."""
        values = []
        for part, trials in self.parts:
            value = ask(part, trials)
            lifted = value.dim() > base
            values.append(value if lifted else value.expand(part.trials or 1, *value.shape))
        return torch.cat(values)


def _of(x: Tensor, trials: slice, base: int = 2) -> Tensor:
    """Select the trials of a part, if there is a trial axis."""
    return x[trials] if x.dim() > base else x
