"""data.epoch: the images of an epoch, augmented and ready for the model."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from harness.data import augment
from harness.model.backbone import Backbone
from tests.benchmarks.measure import Case
from tests.benchmarks.ours import B32, backbone
from tests.benchmarks.registry import row

BATCH = 32
SETS = (  # title, model, size, images
    ("photos of 500 x 375 for 224 px", B32, (500, 375), 64),
    ("icons of 64 px for 32 px", "embedded", (64, 64), 320),
)


class Encoded(Dataset[Tensor]):
    """Image files in memory, decoded and augmented one by one when asked for."""

    def __init__(self, files: list[bytes], transform: Any) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Tensor:
        with Image.open(io.BytesIO(self.files[i])) as image:
            found: Tensor = self.transform(image.convert("RGB"))
            return found


def drawn(size: tuple[int, int], count: int) -> list[bytes]:
    """Smooth pictures as files: JPEG for photos, PNG for icons."""
    rng, files = np.random.default_rng(0), []
    for _ in range(count):
        coarse = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG" if size[0] > 100 else "PNG", quality=90)
        files.append(buffer.getvalue())
    return files


@row("data.epoch", "all images once, cropped, mirrored and normalised; ours from stored pixels")
def cases(quick: bool) -> Iterator[Case]:
    for title, name, size, count in SETS[1:] if quick else SETS:
        yield _case(title, backbone(name), drawn(size, count), quick)


def _case(title: str, model: Backbone, files: list[bytes], quick: bool) -> Case:
    t = model.transform
    normal = transforms.Normalize(t.mean, t.std)
    bicubic = transforms.InterpolationMode.BICUBIC
    crop = transforms.RandomResizedCrop(t.size, interpolation=bicubic)
    flip = transforms.RandomHorizontalFlip()
    shaken = Encoded(files, transforms.Compose([crop, flip, transforms.ToTensor(), normal]))
    plain = Encoded(files, transforms.Compose([t.crop, transforms.ToTensor(), normal]))
    stored = torch.stack([_pixels(model, data) for data in files]).to(model.device)
    rng = torch.Generator().manual_seed(0)

    def ours() -> int:
        seen = 0
        for rows in torch.randperm(len(stored), generator=rng).to(model.device).split(BATCH):
            x = t.normalise(stored[rows])
            x = augment.warp(x, augment.draw_maps(len(x), x.shape[2:], rng, 0.08).to(x.device))
            seen += len(x)
        return seen

    def decoded(workers: int) -> int:
        loader = DataLoader(shaken, BATCH, shuffle=True, num_workers=workers)
        return sum(len(x.to(model.device)) for x in loader)

    def check() -> None:
        """The same pixels where nothing is drawn, and as many of them."""
        x = torch.stack([plain[i] for i in range(8)])
        torch.testing.assert_close(t.normalise(stored[:8]).cpu(), x, atol=1e-5, rtol=1e-4)
        assert ours() == decoded(0) == len(files)

    arms = {
        "ours": ours,
        "decoded each epoch": lambda: decoded(0),
        "decoded by 2 workers that start each epoch": lambda: decoded(2),
    }
    goals = {"decoded each epoch": 2.5}
    return Case(f"{len(files)} {title}", arms, check, goals, clock="wall")


def _pixels(model: Backbone, data: bytes) -> Tensor:
    with Image.open(io.BytesIO(data)) as image:
        return torch.from_numpy(model.transform.pixels(image).transpose(2, 0, 1).copy())
