"""Reads a data set from one Parquet file: columns image, label, classname, split, domain."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.datasets.table import Table
from methods.kit.errors import UsageError

REQUIRED = ("image", "label", "classname", "split")
SPLITS = ("train", "val", "test")


def read(path: Path, name: str, template: str) -> Table:
    """The table in a Parquet file. Raises UsageError, in one line, for what is wrong with it."""
    table = _load(path)
    missing = [c for c in REQUIRED if c not in table.column_names]
    if missing:
        raise UsageError(
            f"{path}: no column {missing[0]!r}; a data set has {', '.join(REQUIRED)} (and domain)"
        )
    if table.num_rows == 0:
        raise UsageError(f"{path}: it holds no rows")
    for column in REQUIRED:
        if table[column].null_count:
            raise UsageError(f"{path}: column {column!r} has empty cells")
    labels = _labels(path, table)
    split = _split(path, table)
    names = _classnames(path, labels, table["classname"].to_pylist())
    domains = table["domain"].to_pylist() if "domain" in table.column_names else [""] * len(labels)
    images = _images(path, table)
    digest = _digest(images, labels, split, names)
    domain_array = np.array([d or "" for d in domains])
    return Table(name, names, template, labels, split, domain_array, images, digest)


def _load(path: Path) -> pa.Table:
    if not path.exists():
        raise UsageError(f"{path}: no such file; give a data set's name or a Parquet file")
    try:
        return pq.read_table(path)
    except PermissionError:
        raise UsageError(f"{path}: no permission to read it") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UsageError(f"{path}: not a readable Parquet file ({reason})") from None


def _labels(path: Path, table: Any) -> np.ndarray:
    kind = table.schema.field("label").type
    if not pa.types.is_integer(kind):
        raise UsageError(f"{path}: column 'label' must hold whole numbers, not {kind}")
    labels = np.asarray(table["label"].to_pylist(), dtype=np.int64)
    present = np.unique(labels)
    if present[0] != 0 or present[-1] != len(present) - 1:
        gap = next(i for i, p in enumerate([*present, -1]) if i != p)
        raise UsageError(f"{path}: labels must count from 0 without gaps; {gap} is missing")
    return labels


def _split(path: Path, table: Any) -> np.ndarray:
    split = np.array(table["split"].to_pylist(), dtype=str)
    odd = sorted(set(split.tolist()) - set(SPLITS))
    if odd:
        raise UsageError(f"{path}: split {odd[0]!r} is none of {', '.join(SPLITS)}")
    for name in ("train", "test"):
        if name not in split:
            raise UsageError(f"{path}: it has no {name} images")
    return split


def _classnames(path: Path, labels: np.ndarray, names: list[str]) -> tuple[str, ...]:
    found: dict[int, str] = {}
    for label, name in zip(labels.tolist(), names, strict=True):
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"{path}: label {label} has the class name {name!r}; give it a word")
        if found.setdefault(label, name) != name:
            raise UsageError(f"{path}: label {label} is called both {found[label]!r} and {name!r}")
    if len(set(found.values())) < len(found):
        twice = next(n for n in found.values() if list(found.values()).count(n) > 1)
        raise UsageError(f"{path}: two labels share the class name {twice!r}")
    return tuple(found[i] for i in range(len(found)))


def _images(path: Path, table: Any) -> list[bytes]:
    kind = table.schema.field("image").type
    if (
        pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    ):  # Hugging Face's image type: {bytes, path}
        cells = [cell["bytes"] for cell in table["image"].to_pylist()]
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        cells = table["image"].to_pylist()
    else:
        raise UsageError(f"{path}: column 'image' must hold the bytes of image files, not {kind}")
    if any(cell is None for cell in cells):
        raise UsageError(f"{path}: column 'image' has empty cells")
    return cells


def _digest(
    images: list[bytes], labels: np.ndarray, split: np.ndarray, names: tuple[str, ...]
) -> str:
    """A hash of the content, whatever the file's compression or row groups."""
    sha = hashlib.sha256("\0".join(names).encode())
    for image, label, part in zip(images, labels.tolist(), split.tolist(), strict=True):
        sha.update(f"{label}|{part}|{len(image)}|".encode())
        sha.update(image)
    return sha.hexdigest()[:16]
