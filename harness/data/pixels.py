"""Decoded images: a tensor in memory, rows of a mapped file, or rows decoded on each request."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from harness.data import worker_pool
from harness.data.dataset import Dataset
from harness.data.decode import Unreadable, decode_images
from harness.data.readers.image_files import take_images
from harness.data.transform import Transform
from methods.kit.core.errors import UsageError

HELD_BYTES = 4 << 30  # training images up to this size stay in memory or on the device


@dataclass(frozen=True, eq=False)
class LazyPixels(ABC):
    """Rows of uint8 pixels (n, 3, h, w) that are not in memory."""

    rows: np.ndarray  # (n,) int64, within the file or data set

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: Tensor) -> Tensor:
        """Read some of them."""
        return next(self.batches([places]))

    def take(self, places: Sequence[int]) -> Self:
        """Return some of them, still not in memory."""
        return replace(self, rows=self.rows[np.asarray(places, dtype=np.int64)])

    def split(self, size: int) -> Iterator[Tensor]:
        """Read all of them in order, a batch at a time."""
        return self.batches(torch.arange(len(self)).split(size))

    @abstractmethod
    def batches(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """Read one batch for each tensor of places."""

    @property
    @abstractmethod
    def nbytes(self) -> int: ...


Pixels = Tensor | LazyPixels


@dataclass(frozen=True, eq=False)
class MappedPixels(LazyPixels):
    """Rows of a file that is mapped into memory."""

    array: np.ndarray = field(repr=False)

    def batches(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        for part in parts:
            yield torch.from_numpy(np.asarray(self.array[self.rows[part.cpu().numpy()]]))

    @property
    def nbytes(self) -> int:
        return len(self) * int(np.prod(self.array.shape[1:]))


@dataclass(frozen=True, eq=False)
class StreamedPixels(LazyPixels):
    """Rows of a data set that worker processes decode on each request."""

    table: Dataset = field(repr=False)
    transform: Transform

    def __getitem__(self, places: Tensor) -> Tensor:
        return next(self._decoded([places], workers=1))

    def batches(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        return self._decoded(parts, worker_pool.worker_count())

    def _decoded(self, parts: Iterable[Tensor], workers: int) -> Iterator[Tensor]:
        chosen = [self.rows[part.cpu().numpy()].tolist() for part in parts]
        jobs = ((take_images(self.table.images, rows), self.transform) for rows in chosen)
        decoded = worker_pool.map_ordered(decode_images, jobs, workers)
        for rows, (array, bad) in zip(chosen, decoded, strict=True):
            refuse_unreadable(self.table, {rows[i]: why for i, why in bad.items()})
            yield torch.from_numpy(array)

    @property
    def nbytes(self) -> int:
        return decoded_bytes(len(self), self.transform)


def decoded_bytes(images: int, transform: Transform) -> int:
    """Return the size of decoded images."""
    height, width = transform.size
    return images * 3 * height * width


def refuse_unreadable(table: Dataset, bad: Unreadable) -> None:
    """Raise UsageError for the first image that cannot be read."""
    for row, reason in bad.items():
        name = table.classnames[int(table.labels[row])]
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise UsageError(
            f"data set {table.name!r}: {table.where(row)} (class {name!r}) cannot be read:"
            f" {reason}{more}; repair or remove it, or set data.skip_corrupt=true"
        )


def held_images(pixels: Pixels, device: torch.device) -> Pixels:
    """Return pixels where training reads them fastest: on the device if there is room."""
    if isinstance(pixels, LazyPixels):
        if pixels.nbytes > HELD_BYTES:
            return pixels
        pixels = torch.cat([*pixels.split(256)]) if len(pixels) else pixels[torch.arange(0)]
    return pixels.to(device)


def pixel_batches(pixels: Pixels, parts: Sequence[Tensor]) -> Iterator[Tensor]:
    """Read one batch for each tensor of row numbers."""
    if isinstance(pixels, LazyPixels):
        return pixels.batches(parts)
    return (pixels[part] for part in parts)
