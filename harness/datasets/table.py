"""A data set as it lies on disk: encoded images with labels, names, splits and domains."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Table:
    """Rows of a labelled image set. ``split`` is 'train', 'val' or 'test' for each row.

    A set that lies on disk image by image has ``paths`` (relative, one a row), the ``folder`` of
    the set, and ``source``, the SHA-256 of what lists its rows.
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

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split, in file order."""
        return np.flatnonzero(self.split == split)
