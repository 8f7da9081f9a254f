"""Where decoded images are: in memory, in one mapped file, or decoded again when asked for.

All three give the same bytes in the same order.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from harness.data import pixel_cache, worker_pool
from harness.data.dataset import Dataset
from harness.data.decode import Unreadable, allocate_pixels, decode_into, decode_pixels
from harness.data.readers import image_files
from harness.data.transform import Transform
from methods.kit.core.errors import UsageError

MEMORY_BYTES = 32 << 20  # a data set this small is decoded into memory, and nothing is written
WHOLE_BYTES = 8 << 30  # one this small is decoded whole; of a larger one what a run needs
HEADER = 4096  # bytes of a .npy file before its array, at most
HELD_BYTES = 4 << 30  # training images this small are kept in memory or on the device


class LazyPixels:
    """Rows of uint8 pixels (n, 3, h, w) that are not in memory."""

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Some of them, in memory."""
        raise NotImplementedError

    def take(self, rows: Sequence[int]) -> "LazyPixels":
        """Some of them, not in memory."""
        raise NotImplementedError

    @property
    def nbytes(self) -> int:
        raise NotImplementedError

    def batches(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """One batch for each tensor of row numbers."""
        return (self[part] for part in parts)

    def split(self, size: int) -> Iterator[Tensor]:
        """All of them in order, a batch at a time."""
        return self.batches(torch.arange(len(self)).split(size))


Pixels = Tensor | LazyPixels


class MappedPixels(LazyPixels):
    """Rows of a file that is mapped into memory."""

    def __init__(self, array: np.ndarray, rows: np.ndarray) -> None:
        self.array, self.rows = array, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(self.array[self.rows[rows.cpu().numpy()]]))

    def take(self, rows: Sequence[int]) -> "MappedPixels":
        return MappedPixels(self.array, self.rows[np.asarray(rows, dtype=np.int64)])

    @property
    def nbytes(self) -> int:
        return len(self.rows) * int(np.prod(self.array.shape[1:]))


class StreamedPixels(LazyPixels):
    """Rows decoded by worker processes each time they are asked for."""

    def __init__(self, table: Dataset, transform: Transform, rows: Sequence[int]) -> None:
        self.table, self.transform, self.rows = table, transform, list(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self._checked(_Decoder(self)[rows.tolist()])

    def take(self, rows: Sequence[int]) -> "StreamedPixels":
        return StreamedPixels(self.table, self.transform, [self.rows[row] for row in rows])

    @property
    def nbytes(self) -> int:
        return decoded_bytes(len(self), self.transform)

    def batches(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        order = [part.tolist() for part in parts]
        workers = worker_pool.worker_count() if worker_pool.worker_count() > 1 else 0
        loader = DataLoader(
            _Decoder(self), batch_size=None, sampler=order, num_workers=workers, collate_fn=_same
        )
        return map(self._checked, loader)

    def _checked(self, found: "tuple[np.ndarray, Unreadable]") -> Tensor:
        array, bad = found
        refuse_unreadable(self.table, bad)
        return torch.from_numpy(array)


class _Decoder(TorchDataset[tuple[np.ndarray, Unreadable]]):
    """What a worker of a DataLoader runs: a list of places to pixels."""

    def __init__(self, source: StreamedPixels) -> None:
        self.source = source

    def __getitem__(self, places: list[int]) -> tuple[np.ndarray, Unreadable]:
        s = self.source
        rows = [s.rows[place] for place in places]
        array = np.empty((len(rows), 3, *s.transform.size), np.uint8)
        bad: Unreadable = {}
        for i, row in enumerate(rows):
            found = decode_pixels(s.table.images, row, s.transform)
            if isinstance(found, str):
                bad[row] = found
            else:
                array[i] = found
        return array, bad


def _same(found: Any) -> Any:
    return found


def decoded_bytes(images: int, transform: Transform) -> int:
    """The bytes of decoded images."""
    height, width = transform.size
    return images * 3 * height * width


def held_images(pixels: Pixels, device: torch.device) -> Pixels:
    """Pixels where training reads them fastest: on the device if there is room."""
    if isinstance(pixels, LazyPixels):
        if pixels.nbytes > HELD_BYTES:
            return pixels
        pixels = torch.cat([*pixels.split(256)]) if len(pixels) else pixels[torch.arange(0)]
    return pixels.to(device)


def pixel_batches(pixels: Pixels, parts: Sequence[Tensor]) -> Iterator[Tensor]:
    """One batch for each tensor of row numbers."""
    if isinstance(pixels, LazyPixels):
        return pixels.batches(parts)
    return (pixels[part] for part in parts)


# --- of a data set ---------------------------------------------------------------------------


@dataclass(frozen=True)
class DecodedRows:
    """Some rows of a table, decoded, and what of them could not be."""

    pixels: Pixels
    bad: Unreadable

    def take(self, places: list[int]) -> Pixels:
        if isinstance(self.pixels, LazyPixels):
            return self.pixels.take(places)
        return self.pixels[torch.tensor(places, dtype=torch.long)]


def decode_rows(table: Dataset, transform: Transform, rows: Sequence[int]) -> Pixels:
    """Pixels of rows of a table, decoded once where there is room for them.

    A small data set is decoded whole, of a larger one the test split and what is drawn. Raises
    UsageError for the first image met that cannot be read.
    """
    unit_rows = _unit_rows(table, transform, rows)
    unit = _unit(table, transform, unit_rows)
    there = set(np.flatnonzero(np.isin(table.split, ("train", "val", "test"))).tolist())
    refuse_unreadable(table, {row: why for row, why in unit.bad.items() if row in there})
    place = {row: i for i, row in enumerate(unit_rows)}
    return unit.take([place[row] for row in rows])


def find_unreadable(table: Dataset, transform: Transform) -> Unreadable:
    """Every row of a table that cannot be read, and why; looked at once and remembered."""
    rows = range(len(table.images))
    return (
        _unit(table, transform, rows).bad
        if _is_whole(table, transform)
        else _looked(table, transform, rows)
    )


def refuse_unreadable(table: Dataset, bad: Unreadable) -> None:
    """Raises UsageError for the first image that cannot be read."""
    for row, reason in bad.items():
        name = table.classnames[int(table.labels[row])]
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise UsageError(
            f"data set {table.name!r}: {table.where(row)} (class {name!r}) cannot be read:"
            f" {reason}{more}; mend or remove it, or say data.skip_corrupt=true"
        )


def _is_whole(table: Dataset, transform: Transform) -> bool:
    size = decoded_bytes(len(table.images), transform)
    return size <= MEMORY_BYTES or (size <= WHOLE_BYTES and pixel_cache.fits(size))


def _unit_rows(table: Dataset, transform: Transform, rows: Sequence[int]) -> Sequence[int]:
    """What is decoded together: everything, the test split, or just these."""
    if _is_whole(table, transform):
        return range(len(table.images))
    test = table.rows("test").tolist()
    return test if set(rows) <= set(test) else rows


_kept: OrderedDict[str, DecodedRows] = OrderedDict()


def _unit(table: Dataset, transform: Transform, rows: Sequence[int]) -> DecodedRows:
    key, size = _key(table, transform, rows), decoded_bytes(len(rows), transform)
    if key not in _kept:
        if size <= MEMORY_BYTES:
            _kept[key] = _in_memory(table, transform, rows)
        elif pixel_cache.fits(size + HEADER):
            _kept[key] = _in_file(key, table, transform, rows, size + HEADER)
        else:
            _kept[key] = DecodedRows(
                StreamedPixels(table, transform, rows), _looked(table, transform, rows)
            )
        while len(_kept) > 8:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return _kept[key]


def _in_memory(table: Dataset, transform: Transform, rows: Sequence[int]) -> DecodedRows:
    array = np.zeros((len(rows), 3, *transform.size), np.uint8)
    bad = decode_into(array, table.images, rows, transform, f"decoding {table.name}")
    return DecodedRows(torch.from_numpy(array), bad)


def _in_file(
    key: str, table: Dataset, transform: Transform, rows: Sequence[int], size: int
) -> DecodedRows:
    with pixel_cache.locked(key):
        entry = pixel_cache.find(key)
        if entry is None:
            part = pixel_cache.reserve(key, size)
            allocate_pixels(part, (len(rows), 3, *transform.size))
            what = f"decoding {table.name}, once"
            bad = decode_into(part, table.images, rows, transform, what)
            facts = {"name": table.name, "images": len(rows), "size": list(transform.size)}
            entry = pixel_cache.publish(
                key, facts | {"bad": {str(r): why for r, why in bad.items()}}
            )
        array = np.load(entry.path, mmap_mode="r")
    return DecodedRows(
        MappedPixels(array, np.arange(len(rows))),
        {int(r): why for r, why in entry.about["bad"].items()},
    )


def _looked(table: Dataset, transform: Transform, rows: Sequence[int]) -> Unreadable:
    """What of these rows cannot be read; decoded once for that, and remembered."""
    key = _key(table, transform, rows)
    note = pixel_cache.read_note(key)
    if note is None:
        what = f"looking at {table.name}, once"
        bad = decode_into(None, table.images, rows, transform, what)
        note = {"bad": {str(row): why for row, why in bad.items()}}
        pixel_cache.write_note(key, note)
    return {int(row): why for row, why in note["bad"].items()}


_stamps: dict[str, str] = {}


def _key(table: Dataset, transform: Transform, rows: Sequence[int]) -> str:
    """By content: the data set, the rows, the transform, and the libraries that decode.

    The digest of a public set is that of its listing, so its files count by size and time: one
    that was mended is decoded again. They are looked at once a process, as the listing is.
    """
    parts = [table.digest, transform.digest(), version("pillow"), version("torchvision")]
    sha = hashlib.sha256("|".join(parts).encode())
    sha.update(np.asarray(rows, dtype=np.int64).tobytes())
    if table.source:
        seen = sha.hexdigest()
        if seen not in _stamps:
            _stamps[seen] = image_files.files_stamp(table.images, rows)
        sha.update(_stamps[seen].encode())
    return sha.hexdigest()[:24]
