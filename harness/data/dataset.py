"""A data set as it is on disk: encoded images with labels, class names and splits."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

GENERIC_TEMPLATE = "a photo of a {}."
LEFT_OUT = "left out"  # the split of rows that no run sees


@dataclass(frozen=True)
class Dataset:
    """Rows of a labelled image set. ``split`` is 'train', 'val' or 'test' for each row.

    A set of single files has ``paths`` (relative, one per row) in its ``folder``; one with a
    listing has ``source``, the SHA-256 of the listing. ``ignored`` are files that are no images.
    """

    name: str
    classnames: tuple[str, ...]
    template: str
    labels: np.ndarray  # (rows,) int64
    split: np.ndarray  # (rows,) str
    images: Sequence[bytes] = field(repr=False)
    digest: str = ""
    paths: tuple[str, ...] = field(default=(), repr=False)
    folder: Path | None = None
    source: str = ""
    ignored: tuple[str, ...] = field(default=(), repr=False)

    def rows(self, split: str) -> np.ndarray:
        """Return the row numbers of a split, in file order."""
        return np.flatnonzero(self.split == split)

    def where(self, row: int) -> str:
        """Return where to find an image: its file, else its row."""
        return str((self.folder or Path()) / self.paths[row]) if self.paths else f"row {row}"

    def without(self, rows: Collection[int]) -> "Dataset":
        """Return the data set with some rows in no split; row numbers stay."""
        split = self.split.astype(object)
        split[sorted(rows)] = LEFT_OUT
        return replace(self, split=split.astype(str))
