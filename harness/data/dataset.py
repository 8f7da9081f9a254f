"""A data set as it lies on disk: encoded images with labels, names, splits and domains."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

LEFT_OUT = "left out"  # the split of rows that no run sees


@dataclass(frozen=True)
class Dataset:
    """Rows of a labelled image set. ``split`` is 'train', 'val' or 'test' for each row.

    A set that lies on disk image by image has ``paths`` (relative, one a row), the ``folder`` of
    the set, and ``source``, the SHA-256 of what lists its rows. ``ignored`` are files that lie
    beside the images and are none.
    """

    name: str
    classnames: tuple[str, ...]
    template: str
    labels: np.ndarray  # (rows,) int64
    split: np.ndarray  # (rows,) str
    domains: np.ndarray  # (rows,) str
    images: Sequence[bytes] = field(repr=False)
    digest: str = ""
    paths: tuple[str, ...] = field(default=(), repr=False)
    folder: Path | None = None
    source: str = ""
    ignored: tuple[str, ...] = field(default=(), repr=False)

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split, in file order."""
        return np.flatnonzero(self.split == split)

    def where(self, row: int) -> str:
        """How a person finds an image: its file, else its row."""
        return str((self.folder or Path()) / self.paths[row]) if self.paths else f"row {row}"

    def without(self, rows: Collection[int]) -> "Dataset":
        """The same rows with the same numbers, some of which no split has any more."""
        split = self.split.astype(object)
        split[sorted(rows)] = LEFT_OUT
        return replace(self, split=split.astype(str))
