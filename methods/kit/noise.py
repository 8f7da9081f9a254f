"""Randomness inside a step: keyed by (trial, step, place), never drawn from a global stream.

A trial therefore sees the same masks whether it runs alone or beside others, and nothing a method
draws can shift what another part of the run draws.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def generator(*key: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that depends on the key alone."""
    digest = hashlib.blake2b("|".join(map(str, key)).encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, "little") >> 1  # manual_seed takes 63 bits
    return torch.Generator(device=device).manual_seed(seed)


class Noise:
    """The noise of one training step: one seed per trial, or a single seed for a single trial.

    ``turn`` counts passes over one batch; each pass draws anew. ``part`` (start, stop, images) says
    that only these images of the batch are passed: they get the masks that they have in the whole.
    """

    def __init__(
        self,
        seeds: int | Sequence[int],
        step: int,
        device: torch.device | str = "cpu",
        progress: float = 0.0,
        turn: int = 0,
        part: tuple[int, int, int] | None = None,
    ):
        self.seeds = seeds
        self.step = step
        self.device = device
        self.progress = progress
        self.turn = turn
        self.part = part

    def again(self) -> "Noise":
        """The noise of one more pass in the same step."""
        turn = self.turn + 1
        return Noise(self.seeds, self.step, self.device, self.progress, turn, self.part)

    def dropout(self, place: tuple[Any, ...], shape: Sequence[int], rate: float) -> Tensor:
        """A mask of 0 and 1/(1-rate), shape (*shape) or (trials, *shape), of rows at a place that
        begins with the tower."""
        if isinstance(self.seeds, int):
            return self._mask(self.seeds, place, shape, rate)
        return torch.stack([self._mask(seed, place, shape, rate) for seed in self.seeds])

    def draw(self, name: str, fn: Callable[[float, torch.Generator], Tensor]) -> Tensor:
        """fn(progress, generator) on the CPU, with a leading trial axis if there are trials."""
        if isinstance(self.seeds, int):
            return fn(self.progress, self._generator(self.seeds, name))
        return torch.stack([fn(self.progress, self._generator(s, name)) for s in self.seeds])

    def _mask(self, seed: int, place: tuple[Any, ...], shape: Sequence[int], rate: float) -> Tensor:
        rows, *width = shape
        start, stop, whole = self.part or (0, 1, 1)
        each = rows // (stop - start)  # rows of an image
        cut = self.part is not None and place[0] == "image"
        drawn = torch.empty((each * whole if cut else rows, *width), device=self.device)
        drawn.bernoulli_(1 - rate, generator=self._generator(seed, place, self.device))
        return (drawn[each * start : each * stop] if cut else drawn).div_(1 - rate)

    def _generator(
        self, seed: int, place: object, device: torch.device | str = "cpu"
    ) -> torch.Generator:
        turn = (self.turn,) if self.turn else ()
        return generator(seed, self.step, place, *turn, device=device)
