"""Preprocessing of images for one model."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Transform:
    """open_clip's own preprocessing of images, up to the rounding to uint8 pixels."""

    crop: Callable[[Image.Image], Image.Image]
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: str

    def pixels(self, image: Image.Image) -> np.ndarray:
        """Return uint8 (height, width, 3) at the model's size."""
        return np.array(self.crop(image.convert("RGB")), dtype=np.uint8)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Turn uint8 (n, 3, h, w) into the input of the tower."""
        mean, std = (_channels(values, pixels.device) for values in (self.mean, self.std))
        return (pixels.float() - mean) / std

    def digest(self) -> str:
        text = json.dumps([self.size, self.mean, self.std, self.mode])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(maxsize=16)
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Move one number per channel, scaled to uint8, to the device; once, as steps must not wait."""
    return torch.tensor(values, device=device).view(1, 3, 1, 1) * 255
