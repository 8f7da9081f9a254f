"""Randomness inside a step: keyed by (trial, step, place), never drawn from a global stream.

A trial therefore sees the same masks whether it runs alone or beside others, and nothing a method
draws can shift what another part of the run draws.
"""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

Drawing = Callable[[float, torch.Generator], Tensor]  # of the progress of training


def generator(*key: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that depends on the key alone."""
    digest = hashlib.blake2b("|".join(map(str, key)).encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, "little") >> 1  # manual_seed takes 63 bits
    return torch.Generator(device=device).manual_seed(seed)


class Noise:
    """The noise of one training step: one seed per trial, or a single seed for a single trial.

    ``turn`` counts passes over one batch; each pass draws anew. ``part`` (start, stop, images) says
    that only these images of the batch are passed: they get the masks that they have in the whole.
    With a ``book`` all that is drawn is written there, and read from there from then on.
    """

    def __init__(
        self,
        seeds: int | Sequence[int],
        step: int,
        device: torch.device | str = "cpu",
        progress: float = 0.0,
        turn: int = 0,
        part: tuple[int, int, int] | None = None,
        book: "RandomTape | None" = None,
    ):
        self.seeds = seeds
        self.step = step
        self.device = device
        self.progress = progress
        self.turn = turn
        self.part = part
        self.book = book

    def again(self) -> "Noise":
        """The noise of one more pass in the same step."""
        return self.at(self.step, self.progress, self.turn + 1, self.book)

    def at(
        self, step: int, progress: float, turn: int, book: "RandomTape | None" = None
    ) -> "Noise":
        """The noise of the same trials at another time."""
        return Noise(self.seeds, step, self.device, progress, turn, self.part, book)

    def dropout(self, place: tuple[Any, ...], shape: Sequence[int], rate: float) -> Tensor:
        """A mask of 0 and 1/(1-rate), shape (*shape) or (trials, *shape), of rows at a place that
        begins with the tower."""
        return self._written(
            ("dropout", place, tuple(shape), rate), lambda noise: noise._dropout(place, shape, rate)
        )

    def draw(self, name: str, fn: Drawing) -> Tensor:
        """fn(progress, generator) on the CPU, with a leading trial axis if there are trials."""
        if isinstance(self.seeds, int):
            return fn(self.progress, self._generator(self.seeds, name))
        return torch.stack([fn(self.progress, self._generator(s, name)) for s in self.seeds])

    def draw_like(self, name: str, fn: Drawing, rest: Tensor) -> Tensor:
        """As ``draw``, where and as ``rest`` is."""
        return self._written(("draw", name), lambda noise: noise.draw(name, fn).to(rest))

    def _written(self, key: tuple[Any, ...], fn: "Entry") -> Tensor:
        return fn(self) if self.book is None else self.book.get(self, key, fn)

    def _dropout(self, place: tuple[Any, ...], shape: Sequence[int], rate: float) -> Tensor:
        if isinstance(self.seeds, int):
            return self._mask(self.seeds, place, shape, rate)
        return torch.stack([self._mask(seed, place, shape, rate) for seed in self.seeds])

    def _mask(self, seed: int, place: tuple[Any, ...], shape: Sequence[int], rate: float) -> Tensor:
        rows, *width = shape
        start, stop, whole = self.part or (0, 1, 1)
        each = rows // (stop - start)  # rows of an image
        cut = self.part is not None and place[0] == "image"
        rng = self._generator(seed, place, self.device)
        drawn = mask((each * whole if cut else rows, *width), rate, rng, self.device)
        return drawn[each * start : each * stop] if cut else drawn

    def _generator(
        self, seed: int, place: object, device: torch.device | str = "cpu"
    ) -> torch.Generator:
        turn = (self.turn,) if self.turn else ()
        return generator(seed, self.step, place, *turn, device=device)


LEVELS = 1 << 16  # of the numbers that masks are drawn by on a CPU


def mask(
    shape: Sequence[int], rate: float, rng: torch.Generator, device: torch.device | str = "cpu"
) -> Tensor:
    """0 with a probability of ``rate``, else what keeps the mean at 1.

    On a CPU a number of 64 bits serves four entries, which takes a fifth of the time of torch's
    own way; the rate is rounded to a multiple of 2^-16.
    """
    if torch.device(device).type == "cuda":
        return torch.empty(*shape, device=device).bernoulli_(1 - rate, generator=rng).div_(1 - rate)
    count, dropped = prod(shape), min(round(rate * LEVELS), LEVELS - 1)
    bits = torch.empty(-(-count // 4), dtype=torch.int64, device=device)
    numbers = bits.random_(-(1 << 63), None, generator=rng).view(torch.int16)[:count]
    kept = numbers >= dropped - LEVELS // 2
    return kept.view(*shape).to(torch.float32).mul_(LEVELS / (LEVELS - dropped))


Entry = Callable[[Noise], Tensor]


class RandomTape:
    """What is drawn in a step, in memory that stays: with other draws it is another step."""

    def __init__(self) -> None:
        self._written: dict[Hashable, tuple[Tensor, Noise, Entry]] = {}

    def get(self, noise: Noise, key: tuple[Any, ...], fn: Entry) -> Tensor:
        """What is written under a key, for these trials and this pass; drawn if nothing is."""
        seeds = noise.seeds if isinstance(noise.seeds, int) else tuple(noise.seeds)
        whole = (seeds, noise.turn, noise.part, *key)
        if whole not in self._written:
            self._written[whole] = (fn(noise), noise, fn)
        return self._written[whole][0]

    def turn_to(self, step: int, progress: float) -> None:
        """Draw all of it anew, as another step does."""
        for value, noise, fn in self._written.values():
            value.copy_(fn(noise.at(step, progress, noise.turn)))
