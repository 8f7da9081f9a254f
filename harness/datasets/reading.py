"""The bytes of images: which files are images, their hashes, and some of them for another
process."""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from harness import progress
from harness.datasets.files import Files
from methods.kit.errors import UsageError

# What Pillow reads without plugins, by the names that image files have.
NAMES = ".jpg .jpeg .jpe .jfif .png .bmp .gif .webp .tif .tiff .ppm .pgm .pbm .pnm .tga .ico .avif"
SUFFIXES = frozenset(NAMES.split(" "))
THREADS = 8  # reading waits for the disk


def take(images: Sequence[bytes], rows: Iterable[int]) -> Sequence[bytes]:
    """Some of the images, to be sent to another process: read there if they lie in files."""
    if isinstance(images, Files):
        return Files(images.base, [images.paths[row] for row in rows])
    some = getattr(images, "take", None)
    return some(rows) if some else [images[row] for row in rows]


def hashes(images: Sequence[bytes]) -> list[str]:
    """The SHA-256 of every image; of what cannot be read, its place and that it was not read."""
    found = []
    with ThreadPoolExecutor(THREADS) as pool:
        for done, text in enumerate(pool.map(lambda row: _hash(images, row), range(len(images)))):
            found.append(text)
            if done % 256 == 255 or done + 1 == len(images):
                progress.report("reading files", done + 1, len(images))
    return found


def _hash(images: Sequence[bytes], row: int) -> str:
    try:
        return hashlib.sha256(images[row]).hexdigest()
    except (OSError, UsageError):
        return f"row {row} was not read"


def digest(
    shas: Iterable[str], labels: Iterable[int], split: Iterable[str], names: Iterable[str]
) -> str:
    """A hash of the content of a data set, from the hashes of its images."""
    sha = hashlib.sha256("\0".join(names).encode())
    for image, label, part in zip(shas, labels, split, strict=True):
        sha.update(f"{label}|{part}|{image}|".encode())
    return sha.hexdigest()[:16]
