"""Batched augmentation on the device: equal for equal (seed, epoch) on every machine.

Crops are drawn anew for each epoch, or for K fixed views that the epochs use in turn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.kit.binding.randomness import generator


@dataclass(frozen=True)
class View:
    """One fixed view of all images of a set: a crop and mirror for each, or none."""

    seed: int = 0
    number: int = -1  # -1: unchanged images
    smallest: float = 1.0
    longest: float = 4 / 3
    share: float = 0.5

    def of(self, seed: int) -> "View":
        """Return the same view drawn from another seed."""
        return self if self.number < 0 else replace(self, seed=seed)

    def warps(self, n: int, size: Sequence[int]) -> Tensor | None:
        """Return maps (n, 2, 3), the i-th for the i-th image of the set; None for no change."""
        if self.number < 0:
            return None
        rng = generator(self.seed, "view", self.number)
        return draw_maps(n, size, rng, self.smallest, self.longest, self.share)


UNCHANGED = View()


def draw_maps(
    n: int,
    size: Sequence[int],
    rng: torch.Generator,
    smallest: float,
    ratio: float = 4 / 3,
    share: float = 0.5,
) -> Tensor:
    """Draw crops and mirrors of n images as maps (n, 2, 3) from output to input coordinates.

    Coordinates are in [-1, 1]. A crop keeps ``smallest`` to 1 of the area, its sides are at most
    ``ratio`` to 1, and ``share`` of the images are mirrored. Each image draws its own crop as
    torchvision's RandomResizedCrop does: uniform area, log ratio and position, ten tries, else the
    largest centre crop of allowed ratio.
    """
    height, width = size
    top, left, h, w = draw_crops(n, height, width, rng, smallest, ratio)
    flip = torch.where(draw_flips(n, rng, share), -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = flip * w / width
    theta[:, 0, 2] = (2 * left + w) / width - 1
    theta[:, 1, 1] = h / height
    theta[:, 1, 2] = (2 * top + h) / height - 1
    return theta


def warp(x: Tensor, theta: Tensor) -> Tensor:
    """Return images (n, 3, h, w) seen through maps (n, 2, 3)."""
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, "bilinear", "reflection", align_corners=False)


def draw_flips(n: int, rng: torch.Generator, share: float) -> Tensor:
    """Draw which of n images are mirrored."""
    return torch.rand(n, generator=rng) < share


def draw_crops(
    n: int, height: int, width: int, rng: torch.Generator, smallest: float, longest: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw (top, left, height, width) of n crops, in pixels."""
    tries = 10
    area = (smallest + (1 - smallest) * torch.rand(n, tries, generator=rng)) * height * width
    low, high = math.log(1 / longest), math.log(longest)
    ratio = torch.exp(low + (high - low) * torch.rand(n, tries, generator=rng))
    w = (area * ratio).sqrt().round()
    h = (area / ratio).sqrt().round()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(1, keepdim=True)
    any_fits = fits.any(1)
    widest, tallest = _centre(width, height, longest), _centre(height, width, longest)
    w = torch.where(any_fits, w.gather(1, first)[:, 0], torch.tensor(widest))
    h = torch.where(any_fits, h.gather(1, first)[:, 0], torch.tensor(tallest))
    top = (torch.rand(n, generator=rng) * (height - h + 1)).floor()
    left = (torch.rand(n, generator=rng) * (width - w + 1)).floor()
    top = torch.where(any_fits, top, ((height - h) / 2).floor())
    left = torch.where(any_fits, left, ((width - w) / 2).floor())
    return top, left, h, w


def _centre(side: int, other: int, longest: float) -> float:
    """Return the side of the largest centre crop whose ratio is allowed."""
    return float(min(side, round(other * longest)))
