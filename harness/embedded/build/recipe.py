"""The recipe of the embedded weights: sizes, schedules and weights of the losses."""

import math
from dataclasses import dataclass

from methods.kit.core.field_types import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt


@dataclass(frozen=True)
class Recipe:
    """How the weights are made. All of it is kept beside them, in ``recipe.json``."""

    samples: PositiveInt = 2_400_000  # pairs seen
    batch: PositiveInt = 512
    first_batch: PositiveInt = 128  # smaller, more updates, for the first part
    grow: Fraction = 0.5  # share of the samples after which `batch` is used
    lr: PositiveFloat = 1e-3
    final_lr: Fraction = 0.01  # share of lr
    warmup: Fraction = 0.04  # share of the samples
    weight_decay: NonNegativeFloat = 0.1
    words: NonNegativeFloat = 1.0  # weight of the auxiliary loss
    ramp: Fraction = 0.45  # share of the samples over which augmentation grows to full strength
    clip_grad: PositiveFloat = 1.0
    seed: int = 0

    def steps(self) -> tuple[int, int]:
        """(steps with the first batch, steps with the second)."""
        first = round(self.grow * self.samples / self.first_batch)
        return first, math.ceil((self.samples - first * self.first_batch) / self.batch)

    def at(self, step: int) -> tuple[int, int]:
        """(pairs seen before a step, its batch size)."""
        first, _ = self.steps()
        if step < first:
            return step * self.first_batch, self.first_batch
        return first * self.first_batch + (step - first) * self.batch, self.batch

    def rate(self, progress: float) -> float:
        """The learning rate: linear warm-up times a cosine to ``final_lr``."""
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        warm = min(1.0, progress / self.warmup) if self.warmup else 1.0
        return self.lr * warm * (self.final_lr + (1 - self.final_lr) * cosine)
