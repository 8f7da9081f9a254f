"""Which images are tested where nobody said: a fixed share of each class, by their content."""

from collections.abc import Sequence

import numpy as np

from methods.kit.core.errors import UsageError

TEST_SHARE = 0.3


def hold_out(
    labels: np.ndarray, shas: Sequence[str], names: Sequence[str], source: str
) -> np.ndarray:
    """'train' or 'test' for each row: the same for every seed, machine and order of files.

    In each class the images with the smallest hashes are tested, 30 % of them, at least one. Copies
    of one image have one hash and stay together, so that none lies on both sides.
    """
    parts = np.full(len(labels), "train", dtype="<U5")
    for label in np.unique(labels):
        rows = sorted(np.flatnonzero(labels == label).tolist(), key=lambda row: shas[row])
        if len(rows) < 2:
            raise UsageError(
                f"{source}: class {names[int(label)]!r} has {len(rows)} image; to hold some out"
                " for the test it takes at least 2"
            )
        parts[rows[: _cut([shas[row] for row in rows])]] = "test"
    return parts


def _cut(shas: list[str]) -> int:
    """How many of the sorted hashes are tested: near the share, never between two that are equal
    unless all are."""
    wanted = max(1, round(TEST_SHARE * len(shas)))
    cuts = [i for i in range(1, len(shas)) if shas[i - 1] != shas[i]]
    return min(cuts, key=lambda i: (abs(i - wanted), i)) if cuts else wanted
