"""Builds data sets that people bring: identified by content, and split if they are not yet."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from harness.data.dataset import GENERIC_TEMPLATE, Dataset
from harness.data.readers.image_files import LazyImages, image_hashes
from harness.data.readers.validation import check_class_names, check_splits
from methods.kit.core.errors import UsageError

TEST_SHARE = 0.3


def build_dataset(
    source: str,
    name: str,
    images: Sequence[bytes],
    labels: np.ndarray,
    names: Sequence[str],
    split_words: Iterable[str] | None,
    template: str = GENERIC_TEMPLATE,
    paths: Sequence[str] = (),
    folder: Path | None = None,
    ignored: Sequence[str] = (),
) -> Dataset:
    """Return a checked data set; without ``split_words``, a fixed share of each class is tested.

    ``source`` is what errors name. Raises UsageError.
    """
    classnames = check_class_names(source, names)
    lazy = isinstance(images, LazyImages)
    shas = image_hashes(images) if lazy or split_words is None else []
    if split_words is None:
        split = hold_out(labels, shas, classnames, source)
    else:
        split = check_splits(source, split_words)
    return Dataset(
        name=name,
        classnames=classnames,
        template=template,
        labels=labels,
        split=split,
        images=images,
        digest=_content_digest(shas if lazy else images, labels, split, classnames),
        paths=tuple(paths),
        folder=folder,
        ignored=tuple(ignored),
    )


def hold_out(
    labels: np.ndarray, shas: Sequence[str], names: Sequence[str], source: str
) -> np.ndarray:
    """Return 'train' or 'test' for each row, whatever the seed, machine and order of files.

    In each class the images with the smallest hashes are tested, 30 % of them, at least one. Copies
    of one image have one hash and stay together, so that none is on both sides.
    """
    split = np.full(len(labels), "train", dtype="<U5")
    for label in np.unique(labels):
        rows = sorted(np.flatnonzero(labels == label).tolist(), key=lambda row: shas[row])
        if len(rows) < 2:
            raise UsageError(
                f"{source}: class {names[int(label)]!r} has {len(rows)} image; to hold some out"
                " for the test it needs at least 2"
            )
        split[rows[: _tested([shas[row] for row in rows])]] = "test"
    return split


def _tested(shas: list[str]) -> int:
    """Return how many of the sorted hashes are tested: near the share, never parting equal ones
    unless all are equal."""
    share = max(1, round(TEST_SHARE * len(shas)))
    cuts = [i for i in range(1, len(shas)) if shas[i - 1] != shas[i]]
    return min(cuts, key=lambda i: (abs(i - share), i)) if cuts else share


def _content_digest(
    contents: Sequence[bytes | str], labels: np.ndarray, split: np.ndarray, names: Sequence[str]
) -> str:
    """Hash the content of a data set, from its images or, where they are lazy, their hashes."""
    sha = hashlib.sha256("\0".join(names).encode())
    for content, label, part in zip(contents, labels.tolist(), split.tolist(), strict=True):
        if isinstance(content, str):
            sha.update(f"{label}|{part}|{content}|".encode())
        else:
            sha.update(f"{label}|{part}|{len(content)}|".encode() + content)
    return sha.hexdigest()[:16]
