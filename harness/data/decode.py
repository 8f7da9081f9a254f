"""From encoded images to pixels at a model's size, one by one or in worker processes."""

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from harness.data import progress, worker_pool
from harness.data.readers.image_files import take_images
from harness.data.transform import Transform
from methods.kit.core.errors import UsageError

# What Pillow raises for files that are no images, end early, or decode to something enormous.
DECODE_ERRORS = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
CHUNK = 64  # images a job
FEW = 256  # are decoded here: processes would cost more than they bring

Unreadable = dict[int, str]  # row: why it cannot be read


def decode_pixels(images: Sequence[bytes], row: int, transform: Transform) -> np.ndarray | str:
    """uint8 (3, height, width) of an image, or in words why it cannot be read."""
    data = b""
    try:
        data = images[row]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; the pixels are what counts
            with Image.open(io.BytesIO(data)) as image:
                return np.ascontiguousarray(transform.pixels(image).transpose(2, 0, 1))
    except UnidentifiedImageError:
        return "not an image" if data else "no bytes"
    except UsageError as error:  # a file that went away
        return str(error)
    except DECODE_ERRORS as error:
        return " ".join(str(error).split()) or type(error).__name__


def decode_into(
    target: np.ndarray | Path | None,
    images: Sequence[bytes],
    rows: Sequence[int],
    transform: Transform,
    what: str,
) -> Unreadable:
    """Decode rows, in order, into an array or a .npy file (n, 3, height, width), or nowhere.

    What cannot be read stays as it was and is returned.
    """
    workers = (
        worker_pool.worker_count() if len(rows) > FEW and not isinstance(target, np.ndarray) else 1
    )
    jobs = (
        (target, first, take_images(images, chunk), chunk, transform)
        for first, chunk in _chunks(rows)
    )
    bad: Unreadable = {}
    done = 0
    for count, found in worker_pool.map_unordered(_decode, jobs, workers):
        bad |= found
        done += count
        progress.report(what, done, len(rows))
    return dict(sorted(bad.items()))


def _chunks(rows: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    for first in range(0, len(rows), CHUNK):
        yield first, rows[first : first + CHUNK]


def _decode(
    target: np.ndarray | Path | None,
    first: int,
    images: Sequence[bytes],
    rows: Sequence[int],
    transform: Transform,
) -> tuple[int, Unreadable]:
    out = np.load(target, mmap_mode="r+") if isinstance(target, Path) else target
    bad: Unreadable = {}
    for i, row in enumerate(rows):
        found = decode_pixels(images, i, transform)
        if isinstance(found, str):
            bad[row] = found
        elif out is not None:
            out[first + i] = found
    return len(rows), bad


def allocate_pixels(path: Path, shape: tuple[int, ...]) -> None:
    """A .npy file of zeros whose every byte has its place on the disk. Raises OSError."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    array.flush()
    if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and a crash later
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
