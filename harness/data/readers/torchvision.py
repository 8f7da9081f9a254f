"""Data sets of torchvision by name: fetched once, when asked, and indexed in one table.

Sets that come as image files get a CSV of their paths, those that come as arrays a Parquet file of
PNG images. A run reads that table; it never downloads.
"""

import csv
import importlib
import inspect
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.data import progress
from harness.data.public_sets import ROOT
from harness.spec.atomic_files import atomic_path
from methods.kit.core.errors import UsageError, unknown

PREFIX = "torchvision:"

SPLITS = {"train": {"split": "train"}, "test": {"split": "test"}}
WITH_VAL = {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}}
TRAIN_FLAG: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
NONE: dict[str, dict[str, Any]] = {"": {}}  # no split of its own: a fixed share is held out


@dataclass(frozen=True)
class TorchvisionSet:
    """A class of torchvision.datasets and the arguments that give each split."""

    kind: str
    splits: dict[str, dict[str, Any]]


KNOWN = {
    "caltech101": TorchvisionSet("Caltech101", NONE),
    "caltech256": TorchvisionSet("Caltech256", NONE),
    "cifar10": TorchvisionSet("CIFAR10", TRAIN_FLAG),
    "cifar100": TorchvisionSet("CIFAR100", TRAIN_FLAG),
    "country211": TorchvisionSet("Country211", WITH_VAL | {"val": {"split": "valid"}}),
    "dtd": TorchvisionSet("DTD", WITH_VAL),
    "eurosat": TorchvisionSet("EuroSAT", NONE),
    "fashion_mnist": TorchvisionSet("FashionMNIST", TRAIN_FLAG),
    "fgvc_aircraft": TorchvisionSet("FGVCAircraft", WITH_VAL),
    "food101": TorchvisionSet("Food101", SPLITS),
    "imagenette": TorchvisionSet("Imagenette", SPLITS | {"test": {"split": "val"}}),
    "kmnist": TorchvisionSet("KMNIST", TRAIN_FLAG),
    "mnist": TorchvisionSet("MNIST", TRAIN_FLAG),
    "oxford_flowers": TorchvisionSet("Flowers102", WITH_VAL),
    "oxford_pets": TorchvisionSet("OxfordIIITPet", SPLITS | {"train": {"split": "trainval"}}),
    "rendered_sst2": TorchvisionSet("RenderedSST2", WITH_VAL),
    "stl10": TorchvisionSet("STL10", SPLITS),
    "sun397": TorchvisionSet("SUN397", NONE),
    "svhn": TorchvisionSet("SVHN", SPLITS),
    "usps": TorchvisionSet("USPS", TRAIN_FLAG),
}


class Row(NamedTuple):
    """One image as torchvision gives it: a file, or pixels."""

    image: Any
    label: str
    split: str


def root_folder(given: str = "") -> Path:
    """The folder of data sets: the one given, else RINGBENCH_DATA, else ``data`` here."""
    return Path(given or os.environ.get(ROOT) or "data").expanduser()


def find_table(word: str, root: str = "") -> Path:
    """The table of ``torchvision:NAME``. Raises UsageError where it was not fetched."""
    name, folder = _checked(word.removeprefix(PREFIX)), root_folder(root)
    for path in _tables(folder, name):
        if path.is_file():
            return path
    raise UsageError(
        f"{word}: not in {folder}; say `ringbench data fetch {name} --root {folder}` first"
    )


def fetch_set(name: str, root: Path) -> Path:
    """Download a data set with torchvision and write its table. Raises UsageError."""
    known = KNOWN[_checked(name.removeprefix(PREFIX))]
    kind = getattr(importlib.import_module("torchvision.datasets"), known.kind)
    as_files = "loader" in inspect.signature(kind).parameters
    target = _tables(root, name.removeprefix(PREFIX))[0 if as_files else 1]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        rows = list(_rows(kind, known, root, as_files))
    except Exception as error:  # whatever its downloaders and unpackers raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(f"data fetch {name}: {reason}") from None
    with atomic_path(target) as draft:
        (_write_csv if as_files else _write_parquet)(draft, rows)
    return target


def _checked(name: str) -> str:
    if name not in KNOWN:
        raise unknown(f"torchvision data set {name!r}", name, KNOWN)
    return name


def _tables(root: Path, name: str) -> tuple[Path, Path]:
    folder = root / "torchvision"
    return folder / f"{name}.csv", folder / f"{name}.parquet"


def _rows(kind: Any, known: TorchvisionSet, root: Path, as_files: bool) -> Iterator[Row]:
    extra = {"loader": str} if as_files else {}
    for split, arguments in known.splits.items():
        found = kind(str(root.resolve()), download=True, **arguments, **extra)
        names = getattr(found, "classes", None) or getattr(found, "categories", None)
        for i in range(len(found)):
            image, label = found[i]
            yield Row(image, str(names[label]) if names else str(label), split)
            progress.report(f"indexing {known.kind} {split}".strip(), i + 1, len(found))


def _write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        split = ["split"] if rows[0].split else []
        out.writerow(["image", "label", *split])
        for row in rows:
            place = os.path.relpath(row.image, path.parent)
            out.writerow([place, row.label, *([row.split] if split else [])])


def _write_parquet(path: Path, rows: list[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = {
        "image": [_png(row.image) for row in rows],
        "label": [row.label for row in rows],
    }
    if rows[0].split:
        columns["split"] = [row.split for row in rows]
    pq.write_table(pa.table(columns), path)


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
