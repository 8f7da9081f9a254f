"""Preprocessing of images for one model, up to uint8 pixels."""

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
    """From an image to pixels: open_clip's own preprocessing, up to the last rounding to uint8."""

    crop: Callable[[Image.Image], Image.Image]
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: str

    def pixels(self, image: Image.Image) -> np.ndarray:
        """uint8 (height, width, 3) at the model's size."""
        return np.array(self.crop(image.convert("RGB")), dtype=np.uint8)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 (n, 3, h, w) to what the tower takes."""
        return (pixels.float() - _channels(self.mean, pixels.device)) / _channels(
            self.std, pixels.device
        )

    def digest(self) -> str:
        text = json.dumps([self.size, self.mean, self.std, self.mode])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(maxsize=16)
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """A number a channel of uint8 pixels, moved to the device once: a step must not wait for it."""
    return torch.tensor(values, device=device).view(1, 3, 1, 1) * 255
