"""Finds images that a data set holds more than once: equal bytes or nearly equal pictures."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import imagehash
import numpy as np
from PIL import Image

BITS = 64
FLAT = 4.0  # standard deviation of grey levels below which there is nothing to compare


@dataclass(frozen=True)
class DuplicatePair:
    """Two rows that look the same, and the bits of 64 in which their hashes differ."""

    one: int
    other: int
    distance: int = 0


def perceptual_hash(image: Image.Image) -> int | None:
    """Return the 64-bit perceptual hash (pHash) of an image; None for a plain surface."""
    grey = image.convert("L").resize((32, 32))
    if float(np.asarray(grey, dtype=np.float32).std()) < FLAT:
        return None
    bits = imagehash.phash(image).hash.reshape(-1)
    return int("".join("1" if bit else "0" for bit in bits), 2)


def equal_rows(keys: Sequence[object]) -> list[list[int]]:
    """Return groups of two or more rows with equal keys, in order of their first rows."""
    groups: dict[object, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    return [rows for rows in groups.values() if len(rows) > 1]


def near_pairs(ones: dict[int, int], others: dict[int, int], within: int) -> list[DuplicatePair]:
    """Return every pair of rows, one of each side, whose hashes differ in at most ``within`` bits.

    Two such hashes agree entirely in at least one of ``within + 1`` slices of their bits, so only
    rows that share a slice are compared and none is missed.
    """
    distances: dict[tuple[int, int], int] = {}
    edges = np.linspace(0, BITS, within + 2).astype(int).tolist()
    for low, high in pairwise(edges):
        mask = ((1 << (high - low)) - 1) << low
        table: dict[int, list[int]] = defaultdict(list)
        for row, value in ones.items():
            table[value & mask].append(row)
        for other, value in others.items():
            for one in table.get(value & mask, ()):
                distance = (ones[one] ^ value).bit_count()
                if distance <= within:
                    distances[one, other] = distance
    return [DuplicatePair(*rows, distance) for rows, distance in sorted(distances.items())]
