"""From encoded images to pixels at a model's size, here or in worker processes."""

import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from harness.data import progress, worker_pool
from harness.data.readers.image_files import take_images
from harness.data.transform import Transform
from methods.kit.core.errors import UsageError

# What Pillow raises for files that are no images, end early, or decode to something enormous.
DECODE_ERRORS = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
CHUNK = 64  # images per job
FEW = 256  # so many are decoded in this process: starting others costs more

Unreadable = dict[int, str]  # row: why it cannot be read


def decode_pixels(images: Sequence[bytes], row: int, transform: Transform) -> np.ndarray | str:
    """Return an image as uint8 (3, height, width), or in words why it cannot be read."""
    data = b""
    try:
        data = images[row]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; only the pixels count
            with Image.open(io.BytesIO(data)) as image:
                return np.ascontiguousarray(transform.pixels(image).transpose(2, 0, 1))
    except (UsageError, *DECODE_ERRORS) as error:
        return error_text(error, data)


def error_text(error: Exception, data: bytes) -> str:
    """Return why an image cannot be read; ``data`` is what its file holds, if anything."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image" if data else "no bytes"
    if isinstance(error, UsageError):  # a file that is gone
        return str(error)
    return " ".join(str(error).split()) or type(error).__name__


def decode_images(images: Sequence[bytes], transform: Transform) -> tuple[np.ndarray, Unreadable]:
    """Return uint8 (n, 3, height, width), zero where an image cannot be read, and why not."""
    array = np.zeros((len(images), 3, *transform.size), np.uint8)
    bad: Unreadable = {}
    for i in range(len(images)):
        pixels = decode_pixels(images, i, transform)
        if isinstance(pixels, str):
            bad[i] = pixels
        else:
            array[i] = pixels
    return array, bad


def decode_into(
    target: np.ndarray | None,
    images: Sequence[bytes],
    rows: Sequence[int],
    transform: Transform,
    what: str,
) -> Unreadable:
    """Decode rows into an array (n, 3, height, width), or nowhere, and report progress.

    Returns the rows that cannot be read; their pixels are zero.
    """
    starts = range(0, len(rows), CHUNK)
    jobs = ((take_images(images, rows[first : first + CHUNK]), transform) for first in starts)
    in_memory = target is not None and not isinstance(target, np.memmap)  # is small
    workers = 1 if in_memory or len(rows) <= FEW else worker_pool.worker_count()
    bad: Unreadable = {}
    decoded = worker_pool.map_ordered(decode_images, jobs, workers)
    for first, (array, why) in zip(starts, decoded, strict=True):
        done = first + len(array)
        if target is not None:
            target[first:done] = array
        bad |= {rows[first + i]: reason for i, reason in why.items()}
        progress.report(what, done, len(rows))
    return dict(sorted(bad.items()))


def allocate_pixels(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Map a new .npy file of zeros whose every byte has its place on disk. Raises OSError."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    array.flush()
    if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and a crash later
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
