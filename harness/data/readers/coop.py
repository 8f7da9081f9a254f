"""Reads the public data sets in CoOp's folder layout, as public_sets.toml describes them."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.data import public_sets
from harness.data.dataset import Dataset
from harness.data.public_sets import PublicSet
from harness.data.readers.image_files import ImageFiles, list_folder, missing_files
from harness.data.readers.validation import SPLITS, names_by_label
from methods.kit.core.errors import UsageError

CLASSNAMES = "classnames.txt"
LAYOUT = "docs/data.md shows the layout"


class Row(NamedTuple):
    """One image: its split, its path below the images, its label and class name."""

    split: str
    path: str
    label: int
    classname: str


def read(name: str, root: str = "") -> Dataset:
    """Read a public data set and check it against its published counts. Raises UsageError."""
    base = public_sets.root_folder(root, name)
    known = public_sets.locate_set(name, base)
    home = base / known.folder
    if not home.is_dir():
        raise UsageError(
            f"data set {name!r}: no folder {home}; {LAYOUT}, and"
            f" {base / public_sets.PATHS} may name another folder"
        )
    rows, source = LISTINGS[known.listing](known, home, base)
    rows = [row._replace(classname=known.rename.get(row.classname, row.classname)) for row in rows]
    labels = [row.label for row in rows]
    names = names_by_label(f"data set {name!r}", labels, [row.classname for row in rows])
    _check_counts(known, rows, names)
    images = home / known.images
    if known.listing in ("split", "variants"):  # the others list what is there
        _check_files(known, images, rows)
    return Dataset(
        name=name,
        classnames=tuple(names),
        template=known.template,
        labels=np.array(labels, dtype=np.int64),
        split=np.array([row.split for row in rows]),
        images=ImageFiles(images, [row.path for row in rows]),
        digest=_digest(rows, names),
        paths=tuple(row.path for row in rows),
        folder=home,
        source=source,
    )


def _split(known: PublicSet, home: Path, base: Path) -> tuple[list[Row], str]:
    """List a split file {train, val, test: [[path, label, class name], ...]}."""
    path = home / known.split
    raw = _bytes(known, path)
    try:
        parts = json.loads(raw)
        rows = [Row(part, p, label, name) for part in SPLITS for p, label, name in parts[part]]
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{path}: not a split file: expected {{train, val, test}}, each a list of"
            " [path, label, class name]"
        ) from None
    for row in rows:
        typed = isinstance(row.path, str) and isinstance(row.classname, str)
        if not typed or not isinstance(row.label, int) or isinstance(row.label, bool):
            raise UsageError(f"{path}: {list(row[1:])} is not [path, label, class name]")
        if row.path.startswith("/") or ".." in row.path.split("/"):
            raise UsageError(f"{path}: {row.path!r} leads out of the data set's folder")
    return rows, hashlib.sha256(raw).hexdigest()


def _variants(known: PublicSet, home: Path, base: Path) -> tuple[list[Row], str]:
    """List FGVC-Aircraft's own files: ``0034309 Boeing 737-200`` is an image and its variant."""
    sha = hashlib.sha256()
    raw = _bytes(known, home / "variants.txt")
    sha.update(raw)
    place = {line: label for label, line in enumerate(_lines(raw))}
    rows = []
    for part in SPLITS:
        path = home / f"images_variant_{part}.txt"
        raw = _bytes(known, path)
        sha.update(raw)
        for line in _lines(raw):
            image, _, variant = line.partition(" ")
            if variant not in place:
                raise UsageError(f"{path}: {line!r}: variants.txt has no variant {variant!r}")
            rows.append(Row(part, f"{image}.jpg", place[variant], variant))
    return rows, sha.hexdigest()


def _classes(known: PublicSet, home: Path, base: Path) -> tuple[list[Row], str]:
    """List one folder per class, sorted (CoOp lists in the order of the file system)."""
    names, raw = _names_by_folder(known, home, base)
    parts = {"train": known.train_folder, "test": known.test_folder}
    images = home / known.images
    rows: list[Row] = []
    first: list[str] = []
    for part in ("train", "test") if known.train else ("test",):
        folder = images / parts[part]
        folders = [name for name in list_folder(folder) if (folder / name).is_dir()]
        first = first or folders
        if folders != first:
            other = sorted(set(folders) ^ set(first))[0]
            raise UsageError(
                f"data set {known.name!r}: class {other} is in only one of its folders"
            )
        for label, name in enumerate(folders):
            if name not in names:
                raise UsageError(f"{folder / name}: {CLASSNAMES} has no class {name!r}")
            inner = f"{parts[part]}/{name}" if parts[part] else name
            rows += [
                Row(part, f"{inner}/{file}", label, names[name])
                for file in list_folder(folder / name)
            ]
    return rows, _listed(rows, raw)


def _numbered(known: PublicSet, home: Path, base: Path) -> tuple[list[Row], str]:
    """List folders 0, 1, ...: line n of classnames.txt names folder n."""
    names, raw = _names_by_folder(known, home, base)
    folder = home / known.images
    rows = [
        Row("test", f"{label}/{file}", label, name)
        for label, name in enumerate(names.values())
        for file in list_folder(folder / str(label))
    ]
    return rows, _listed(rows, raw)


LISTINGS = {"split": _split, "variants": _variants, "classes": _classes, "numbered": _numbered}


def _names_by_folder(known: PublicSet, home: Path, base: Path) -> tuple[dict[str, str], bytes]:
    """Return folder to class name, in file order; a shifted set may use ImageNet's own file."""
    path = home / CLASSNAMES
    if not path.is_file() and known.name in public_sets.SHIFTED:
        path = base / public_sets.locate_set("imagenet", base).folder / CLASSNAMES
    raw = _bytes(known, path)
    pairs = [line.partition(" ") for line in _lines(raw)]
    return {folder: name for folder, _, name in pairs}, raw


def _bytes(known: PublicSet, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UsageError(
            f"data set {known.name!r}: {path}: {reason}; it lists the images ({LAYOUT})"
        ) from None


def _lines(raw: bytes) -> list[str]:
    text = raw.decode("utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _listed(rows: Iterable[Row], raw: bytes) -> str:
    sha = hashlib.sha256(raw)
    for row in rows:
        sha.update(f"{row.split}|{row.path}\n".encode())
    return sha.hexdigest()


def _check_counts(known: PublicSet, rows: Sequence[Row], names: Sequence[str]) -> None:
    """Raise UsageError for other counts than published: results would mean something else."""
    half = (known.classes + 1) // 2
    base = sum(row.split == "test" and row.label < half for row in rows)
    images = {part: sum(row.split == part for row in rows) for part in SPLITS}
    counts = [("classes", len(names), known.classes)]
    counts += [(f"{part} images", images[part], getattr(known, part)) for part in SPLITS]
    if known.base_test is not None:
        counts.append(("test images of base classes", base, known.base_test))
    for what, there, expected in counts:
        if there != expected:
            raise UsageError(
                f"data set {known.name!r}: {there:,} {what} are there, the published set has"
                f" {expected:,}; get its files again, or give your version its own name as a"
                " Parquet file"
            )


def _check_files(known: PublicSet, images: Path, rows: Sequence[Row]) -> None:
    missing = missing_files(images, (row.path for row in rows))
    if missing:
        raise UsageError(
            f"data set {known.name!r}: {len(missing):,} of {len(rows):,} listed images are missing,"
            f" the first is {images / missing[0]}"
        )


def _digest(rows: Iterable[Row], names: Iterable[str]) -> str:
    """Hash the listing: class names, and each image's split, label and path."""
    sha = hashlib.sha256("\0".join(names).encode())
    for row in rows:
        sha.update(f"{row.label}|{row.split}|{row.path}\n".encode())
    return sha.hexdigest()[:16]
