"""Geometry of a CLIP tower."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

MAX_SEQUENCES = 256
CACHE_BYTES = 8_000_000  # of a CPU, about


@dataclass(frozen=True)
class TowerShape:
    """The geometry of one tower and the options of open_clip's builds that change its numbers."""

    name: Literal["image", "text"]
    depth: int
    width: int
    heads: int
    hidden: int
    length: int
    activation: Callable[[Tensor], Tensor]
    eps: float
    causal: bool = False
    pool: Literal["first", "last", "argmax", "eos", "mean"] = "first"
    norm_before_pool: bool = True  # matters for 'mean' only
    eos: int = 0
    patch: tuple[int, int] = (0, 0)
    image_size: tuple[int, int] = (0, 0)

    @property
    def ignores_padding(self) -> bool:
        """Whether tokens behind the pooled one can be left out."""
        return self.causal and self.pool in ("argmax", "eos")

    def batch_size(self, device: torch.device) -> int:
        """Sequences per forward pass without gradients: many on a GPU; on a CPU few enough to keep
        the widest layer near its caches (each new page of memory costs time too)."""
        if device.type != "cpu":
            return MAX_SEQUENCES
        fitting = CACHE_BYTES // (4 * self.length * self.hidden)
        return max(16, min(MAX_SEQUENCES, fitting))
