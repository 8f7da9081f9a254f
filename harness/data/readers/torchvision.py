"""Data sets of torchvision by name: fetched once, by a command, and indexed in one table.

Sets that come as image files get a CSV of their paths, those that come as arrays a Parquet file of
PNG images. A run reads that table; it never downloads.
"""

import importlib
import inspect
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from harness.data import progress
from harness.data.public_sets import ROOT
from harness.spec.atomic_files import atomic_path
from methods.kit.core.errors import UsageError, unknown

PREFIX = "torchvision:"

SPLITS = {"train": {"split": "train"}, "test": {"split": "test"}}
WITH_VAL = {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}}
TRAIN_FLAG: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
NONE: dict[str, dict[str, Any]] = {"": {}}  # no split: a fixed share is held out


# The class in torchvision.datasets and the arguments that give each split.
KNOWN: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "caltech101": ("Caltech101", NONE),
    "caltech256": ("Caltech256", NONE),
    "cifar10": ("CIFAR10", TRAIN_FLAG),
    "cifar100": ("CIFAR100", TRAIN_FLAG),
    "country211": ("Country211", WITH_VAL | {"val": {"split": "valid"}}),
    "dtd": ("DTD", WITH_VAL),
    "eurosat": ("EuroSAT", NONE),
    "fashion_mnist": ("FashionMNIST", TRAIN_FLAG),
    "fgvc_aircraft": ("FGVCAircraft", WITH_VAL),
    "food101": ("Food101", SPLITS),
    "imagenette": ("Imagenette", SPLITS | {"test": {"split": "val"}}),
    "kmnist": ("KMNIST", TRAIN_FLAG),
    "mnist": ("MNIST", TRAIN_FLAG),
    "oxford_flowers": ("Flowers102", WITH_VAL),
    "oxford_pets": ("OxfordIIITPet", SPLITS | {"train": {"split": "trainval"}}),
    "rendered_sst2": ("RenderedSST2", WITH_VAL),
    "stl10": ("STL10", SPLITS),
    "sun397": ("SUN397", NONE),
    "svhn": ("SVHN", SPLITS),
    "usps": ("USPS", TRAIN_FLAG),
}


def root_folder(given: str = "") -> Path:
    """Return the folder of data sets: the one given, else RINGBENCH_DATA, else ``data`` here."""
    return Path(given or os.environ.get(ROOT) or "data").expanduser()


def find_table(word: str, root: str = "") -> Path:
    """Return the table of ``torchvision:NAME``. Raises UsageError if it was not fetched."""
    name, folder = _check_name(word), root_folder(root)
    for path in _tables(folder, name):
        if path.is_file():
            return path
    raise UsageError(
        f"{word}: not in {folder}; run `ringbench data fetch {name} --root {folder}` first"
    )


def fetch_set(word: str, root: Path) -> Path:
    """Download a data set with torchvision and write its table. Raises UsageError."""
    name = _check_name(word)
    kind = getattr(importlib.import_module("torchvision.datasets"), KNOWN[name][0])
    as_files = "loader" in inspect.signature(kind).parameters
    target = _tables(root, name)[0 if as_files else 1]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        rows = list(_rows(kind, name, root, target.parent if as_files else None))
    except Exception as error:  # whatever its downloaders and unpackers raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(f"data fetch {name}: {reason}") from None
    table = pd.DataFrame(rows, columns=["image", "label", "split"])
    if not rows[0][2]:
        table = table.drop(columns="split")
    with atomic_path(target) as draft:
        if as_files:
            table.to_csv(draft, index=False)
        else:
            table.to_parquet(draft, index=False)
    return target


def _check_name(word: str) -> str:
    name = word.removeprefix(PREFIX)
    if name not in KNOWN:
        raise unknown(f"torchvision data set {name!r}", name, KNOWN)
    return name


def _tables(root: Path, name: str) -> tuple[Path, Path]:
    folder = root / "torchvision"
    return folder / f"{name}.csv", folder / f"{name}.parquet"


def _rows(kind: Any, name: str, root: Path, base: Path | None) -> Iterator[tuple[Any, str, str]]:
    """Yield (path from ``base``, label, split), or PNG bytes in place of the path without it."""
    extra = {"loader": str} if base else {}
    for split, arguments in KNOWN[name][1].items():
        images = kind(str(root.resolve()), download=True, **arguments, **extra)
        names = getattr(images, "classes", None) or getattr(images, "categories", None)
        for i in range(len(images)):
            image, label = images[i]
            cell = os.path.relpath(image, base) if base else _png(image)
            yield cell, str(names[label]) if names else str(label), split
            progress.report(f"indexing {name} {split}".strip(), i + 1, len(images))


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
