"""Random numbers inside a step, keyed by (trial, step, name) instead of a global stream.

A trial gets the same masks alone or co-trained, and the draws of one part of a run never shift
those of another.
"""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

DrawFn = Callable[[float, torch.Generator], Tensor]  # (progress of training, generator)


def generator(*key: object, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator that depends on the key alone."""
    digest = hashlib.blake2b("|".join(map(str, key)).encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, "little") >> 1  # manual_seed takes 63 bits
    return torch.Generator(device=device).manual_seed(seed)


@dataclass(frozen=True)
class Noise:
    """The random numbers of one training step: one seed per trial, or one int for a single trial.

    ``pass_index`` counts passes over one batch; each pass draws anew. ``part`` (start, stop,
    images) selects these images of the batch; their masks are those they have in the whole batch.
    With a ``tape``, draws are recorded on first use and read from it afterwards.
    """

    seeds: int | Sequence[int]
    step: int
    device: torch.device | str = "cpu"
    progress: float = 0.0
    pass_index: int = 0
    part: tuple[int, int, int] | None = None
    tape: "RandomTape | None" = None

    def next_pass(self) -> "Noise":
        """Return the noise of one more pass in the same step."""
        return replace(self, pass_index=self.pass_index + 1)

    def dropout(self, place: tuple[Any, ...], shape: Sequence[int], rate: float) -> Tensor:
        """Return a mask of 0 and 1/(1-rate), shape (*shape) or (trials, *shape).

        ``place`` is the key of the draw; its first entry is the tower.
        """

        def draw(noise: Noise) -> Tensor:
            return noise._per_trial(lambda seed: noise._mask(seed, place, shape, rate))

        return self._recorded(("dropout", place, tuple(shape), rate), draw)

    def draw(self, name: str, fn: DrawFn) -> Tensor:
        """Return fn(progress, generator) on the CPU, with a leading trial axis if any."""
        return self._per_trial(lambda seed: fn(self.progress, self._generator(seed, name)))

    def draw_like(self, name: str, fn: DrawFn, like: Tensor) -> Tensor:
        """Return ``draw`` with the device and type of ``like``."""
        return self._recorded(("draw", name), lambda noise: noise.draw(name, fn).to(like))

    def _recorded(self, key: tuple[Any, ...], fn: "Entry") -> Tensor:
        return fn(self) if self.tape is None else self.tape.get(self, key, fn)

    def _per_trial(self, fn: Callable[[int], Tensor]) -> Tensor:
        if isinstance(self.seeds, int):
            return fn(self.seeds)
        return torch.stack([fn(seed) for seed in self.seeds])

    def _mask(self, seed: int, place: tuple[Any, ...], shape: Sequence[int], rate: float) -> Tensor:
        rows, *width = shape
        start, stop, images = self.part or (0, 1, 1)
        per_image = rows // (stop - start)
        partial = self.part is not None and place[0] == "image"
        rng = self._generator(seed, place, self.device)
        drawn = mask((per_image * images if partial else rows, *width), rate, rng, self.device)
        return drawn[per_image * start : per_image * stop] if partial else drawn

    def _generator(
        self, seed: int, place: object, device: torch.device | str = "cpu"
    ) -> torch.Generator:
        pass_key = (self.pass_index,) if self.pass_index else ()
        return generator(seed, self.step, place, *pass_key, device=device)


LEVELS = 1 << 16  # resolution of the dropout rate on a CPU


def mask(
    shape: Sequence[int], rate: float, rng: torch.Generator, device: torch.device | str = "cpu"
) -> Tensor:
    """Return a dropout mask: 0 with probability ``rate``, else 1 / (1 - rate).

    On a CPU each random 64-bit number serves four entries, in a fifth of the time of torch's own
    dropout; the rate is rounded to a multiple of 2^-16.
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
    """The draws of a step in fixed memory, redrawn in place for each replayed step."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, tuple[Tensor, Noise, Entry]] = {}

    def get(self, noise: Noise, key: tuple[Any, ...], fn: Entry) -> Tensor:
        """Return the entry of these trials and this pass; draw it on first use."""
        seeds = noise.seeds if isinstance(noise.seeds, int) else tuple(noise.seeds)
        whole = (seeds, noise.pass_index, noise.part, *key)
        if whole not in self._entries:
            self._entries[whole] = (fn(noise), noise, fn)
        return self._entries[whole][0]

    def redraw(self, step: int, progress: float) -> None:
        """Draw every entry anew for another step."""
        for value, noise, fn in self._entries.values():
            value.copy_(fn(replace(noise, step=step, progress=progress, tape=None)))
