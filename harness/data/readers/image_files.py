"""Images as a sequence of the bytes of their files, read on request."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, overload

from harness.data import progress
from methods.kit.core.errors import UsageError

# What Pillow reads without plugins, by the names that image files have.
NAMES = ".jpg .jpeg .jpe .jfif .png .bmp .gif .webp .tif .tiff .ppm .pgm .pbm .pnm .tga .ico .avif"
SUFFIXES = frozenset(NAMES.split(" "))
THREADS = 8  # reading waits for the disk


class LazyImages(Sequence[bytes]):
    """Images that are read when they are indexed; nothing is kept in memory."""

    @overload
    def __getitem__(self, row: int) -> bytes: ...
    @overload
    def __getitem__(self, row: slice) -> Self: ...
    def __getitem__(self, row: int | slice) -> bytes | Self:
        return self.take(range(len(self))[row]) if isinstance(row, slice) else self.read(row)

    @abstractmethod
    def read(self, row: int) -> bytes:
        """Read one image."""

    @abstractmethod
    def take(self, rows: Iterable[int]) -> Self:
        """Return some of the images, not read yet."""


class ImageFiles(LazyImages):
    """The files ``base / path``. Raises UsageError on reading."""

    def __init__(self, base: Path, paths: Sequence[str]) -> None:
        self.base = base
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, row: int) -> bytes:
        path = self.base / self.paths[row]
        try:
            return path.read_bytes()
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror})") from None

    def take(self, rows: Iterable[int]) -> "ImageFiles":
        return ImageFiles(self.base, [self.paths[row] for row in rows])


def take_images(images: Sequence[bytes], rows: Iterable[int]) -> Sequence[bytes]:
    """Return some of the images to send to another process; lazy ones are read there."""
    return images.take(rows) if isinstance(images, LazyImages) else [images[row] for row in rows]


def image_hashes(images: Sequence[bytes]) -> list[str]:
    """Return the SHA-256 of every image; for one that cannot be read, that it was not."""
    hashes = []
    with ThreadPoolExecutor(THREADS) as pool:
        for done, text in enumerate(pool.map(lambda row: _hash(images, row), range(len(images)))):
            hashes.append(text)
            if done % 256 == 255 or done + 1 == len(images):
                progress.report("reading files", done + 1, len(images))
    return hashes


def _hash(images: Sequence[bytes], row: int) -> str:
    try:
        return hashlib.sha256(images[row]).hexdigest()
    except (OSError, UsageError):
        return f"row {row} was not read"


def list_folder(folder: Path) -> list[str]:
    """Return the sorted names in a folder, but hidden ones. Raises UsageError without it."""
    try:
        return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        reasons = {FileNotFoundError: "no such folder", PermissionError: "no permission to read it"}
        raise UsageError(f"{folder}: {reasons.get(type(error), error.strerror)}") from None


def missing_files(base: Path, paths: Iterable[str]) -> list[str]:
    """Return the paths that are not below ``base``; each folder is listed once."""
    listed: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        file = base / path
        if file.parent not in listed:
            folder = file.parent
            listed[folder] = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
        if file.name not in listed[file.parent]:
            missing.append(path)
    return missing


def files_stamp(images: Sequence[bytes], rows: Iterable[int]) -> str:
    """Return a hash of the sizes and times of image files; missing files count as missing."""
    sha = hashlib.sha256()
    if isinstance(images, ImageFiles):
        for row in rows:
            try:
                state = (images.base / images.paths[row]).stat()
                sha.update(f"{state.st_size},{state.st_mtime_ns};".encode())
            except OSError:
                sha.update(b"gone;")
    return sha.hexdigest()
