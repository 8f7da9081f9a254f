"""Small pictures and folders of them, drawn for tests."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Image.Image:
    """A smooth picture: a few waves of colour, other ones for each seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[1], 0 : size[0]] / 20
    channels = [
        127 + 60 * np.sin(a * x + b * y + c) + 60 * np.cos(d * x - a * y)
        for a, b, c, d in rng.uniform(-3, 3, (3, 4))
    ]
    return Image.fromarray(np.stack(channels, -1).clip(0, 255).astype(np.uint8)).convert(mode)


def encoded(seed: int, kind: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    picture(seed, size).save(buffer, kind)
    return buffer.getvalue()


def class_folders(
    root: Path, classes: tuple[str, ...] = ("cat", "dog", "owl"), images: int = 8, seed: int = 0
) -> Path:
    """A folder with a folder of pictures for each class."""
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(images):
            path = root / name / f"{i:03d}.png"
            path.write_bytes(encoded(1000 * (seed + c) + i))
    return root


def photo(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A picture with detail at every scale, the less the finer it is, as photos have."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for k in range(2, 8):
        grid = rng.integers(0, 256, (2**k, 2**k, 3), dtype=np.uint8)
        layer = Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)
        total += np.asarray(layer, dtype=float) / 2 ** (k - 1)
    total -= total.min()
    return Image.fromarray((255 * total / total.max()).astype(np.uint8))


def split_folders(root: Path, *parts: str) -> Path:
    for i, part in enumerate(parts):
        class_folders(root / part, images=4, seed=10 * i)
    return root


def listed(root: Path, images: int = 4, split: bool = True) -> pd.DataFrame:
    """A table of pictures that lie in class folders."""
    class_folders(root, images=images)
    rows = [(f"{c}/{i:03d}.png", c, i) for c in ("cat", "dog", "owl") for i in range(images)]
    frame = pd.DataFrame(rows, columns=["image", "label", "i"])
    if split:
        frame["split"] = ["test" if i % 4 == 0 else "train" for i in frame["i"]]
    return frame.drop(columns="i")


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path
