"""Decodes rows of a data set once and keeps them: in memory, in a cache file, or not at all.

All three give the same bytes in the same order.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from harness.data import pixel_cache
from harness.data.dataset import Dataset
from harness.data.decode import Unreadable, allocate_pixels, decode_into
from harness.data.pixels import (
    LazyPixels,
    MappedPixels,
    Pixels,
    StreamedPixels,
    decoded_bytes,
    refuse_unreadable,
)
from harness.data.readers import image_files
from harness.data.transform import Transform

MEMORY_BYTES = 32 << 20  # a set this small is decoded into memory, and nothing is written
WHOLE_BYTES = 8 << 30  # one this small is decoded whole; of a larger one, what a run needs
HEADER = 4096  # bytes of a .npy file before its array, at most
KEPT = 8  # sets that stay open in this process


@dataclass(frozen=True)
class DecodedRows:
    """Some rows of a data set, decoded, and those that cannot be read."""

    pixels: Pixels
    bad: Unreadable


_kept: OrderedDict[str, DecodedRows] = OrderedDict()
_stamps: dict[str, str] = {}


def decode_rows(table: Dataset, transform: Transform, rows: Sequence[int]) -> Pixels:
    """Return the pixels of rows of a data set, decoded once where there is room for them.

    A small data set is decoded whole; of a larger one, the test split and the rows drawn. Raises
    UsageError if an image of any split in what is decoded cannot be read.
    """
    together = _rows_together(table, transform, rows)
    decoded = _decoded(table, transform, together)
    used = set(np.flatnonzero(np.isin(table.split, ("train", "val", "test"))).tolist())
    refuse_unreadable(table, {row: why for row, why in decoded.bad.items() if row in used})
    place = {row: i for i, row in enumerate(together)}
    places = [place[row] for row in rows]
    if isinstance(decoded.pixels, LazyPixels):
        return decoded.pixels.take(places)
    return decoded.pixels[torch.tensor(places, dtype=torch.long)]


def find_unreadable(table: Dataset, transform: Transform) -> Unreadable:
    """Return every row of a data set that cannot be read, and why; the answer is cached."""
    rows = range(len(table.images))
    if _is_small(table, transform):
        return _decoded(table, transform, rows).bad
    return _scan(_key(table, transform, rows), table, transform, rows)


def _is_small(table: Dataset, transform: Transform) -> bool:
    size = decoded_bytes(len(table.images), transform)
    return size <= MEMORY_BYTES or (size <= WHOLE_BYTES and pixel_cache.fits(size))


def _rows_together(table: Dataset, transform: Transform, rows: Sequence[int]) -> Sequence[int]:
    """Return the rows that are decoded with these: all, the test split, or just these."""
    if _is_small(table, transform):
        return range(len(table.images))
    test = table.rows("test").tolist()
    return test if set(rows) <= set(test) else rows


def _decoded(table: Dataset, transform: Transform, rows: Sequence[int]) -> DecodedRows:
    key, size = _key(table, transform, rows), decoded_bytes(len(rows), transform)
    if key not in _kept:
        if size <= MEMORY_BYTES:
            array = np.zeros((len(rows), 3, *transform.size), np.uint8)
            bad = decode_into(array, table.images, rows, transform, f"decoding {table.name}")
            _kept[key] = DecodedRows(torch.from_numpy(array), bad)
        elif pixel_cache.fits(size + HEADER):
            _kept[key] = _from_file(key, table, transform, rows)
        else:
            stream = StreamedPixels(np.asarray(rows, dtype=np.int64), table, transform)
            _kept[key] = DecodedRows(stream, _scan(key, table, transform, rows))
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return _kept[key]


def _from_file(key: str, table: Dataset, transform: Transform, rows: Sequence[int]) -> DecodedRows:
    """Map the cache file of rows, and make it first where it is missing."""
    with pixel_cache.lock(key):
        entry = pixel_cache.find(key)
        if entry is None:
            size = decoded_bytes(len(rows), transform) + HEADER
            array = allocate_pixels(pixel_cache.reserve(key, size), (len(rows), 3, *transform.size))
            bad = decode_into(array, table.images, rows, transform, f"decoding {table.name}, once")
            about = {"name": table.name, "images": len(rows), "size": list(transform.size)}
            entry = pixel_cache.publish(key, about | {"bad": bad})
        mapped = np.load(entry.path, mmap_mode="r")
    return DecodedRows(MappedPixels(np.arange(len(rows)), mapped), _unreadable_in(entry.about))


def _scan(key: str, table: Dataset, transform: Transform, rows: Sequence[int]) -> Unreadable:
    """Find the rows that cannot be read by decoding all of them, once."""
    note = pixel_cache.read_note(key)
    if note is None:
        what = f"checking {table.name}, once"
        note = {"bad": decode_into(None, table.images, rows, transform, what)}
        pixel_cache.write_note(key, note)
    return _unreadable_in(note)


def _unreadable_in(about: dict[str, Any]) -> Unreadable:
    """Return the rows that cannot be read; JSON keys are strings."""
    return {int(row): why for row, why in about["bad"].items()}


def _key(table: Dataset, transform: Transform, rows: Sequence[int]) -> str:
    """Identify decoded rows by content: data set, rows, transform and decoding libraries.

    The digest of a public set is that of its listing, so its files count by size and time too: a
    repaired one is decoded again. Files are looked up once per process, as the listing is.
    """
    parts = [table.digest, transform.digest(), version("pillow"), version("torchvision")]
    sha = hashlib.sha256("|".join(parts).encode())
    sha.update(np.asarray(rows, dtype=np.int64).tobytes())
    if table.source:
        listed = sha.hexdigest()
        if listed not in _stamps:
            _stamps[listed] = image_files.files_stamp(table.images, rows)
        sha.update(_stamps[listed].encode())
    return sha.hexdigest()[:24]
