"""Randomness inside a step: keyed by (trial, step, place), never drawn from a global stream.

A trial therefore sees the same masks whether it runs alone or beside others, and nothing a method
draws can shift what another part of the run draws.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def generator(*key: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that depends on the key alone."""
    digest = hashlib.blake2b("|".join(map(str, key)).encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, "little") >> 1  # manual_seed takes 63 bits
    return torch.Generator(device=device).manual_seed(seed)


class Noise:
    """The noise of one training step: one seed per trial, or a single seed for a single trial."""

    def __init__(self, seeds: int | Sequence[int], step: int, device: torch.device | str = "cpu"):
        self.seeds = seeds
        self.step = step
        self.device = device

    def dropout(self, place: object, shape: Sequence[int], rate: float) -> Tensor:
        """A mask of 0 and 1/(1-rate), shape (*shape) or (trials, *shape)."""
        if isinstance(self.seeds, int):
            return self._mask(self.seeds, place, shape, rate)
        return torch.stack([self._mask(seed, place, shape, rate) for seed in self.seeds])

    def _mask(self, seed: int, place: object, shape: Sequence[int], rate: float) -> Tensor:
        drawn = torch.empty(tuple(shape), device=self.device)
        drawn.bernoulli_(1 - rate, generator=generator(seed, self.step, place, device=self.device))
        return drawn.div_(1 - rate)
