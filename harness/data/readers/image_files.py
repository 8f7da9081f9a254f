"""Image files as a sequence of their bytes, read when they are asked for."""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import overload

from harness.data import progress
from methods.kit.core.errors import UsageError

# What Pillow reads without plugins, by the names that image files have.
NAMES = ".jpg .jpeg .jpe .jfif .png .bmp .gif .webp .tif .tiff .ppm .pgm .pbm .pnm .tga .ico .avif"
SUFFIXES = frozenset(NAMES.split(" "))
THREADS = 8  # reading waits for the disk


def take_images(images: Sequence[bytes], rows: Iterable[int]) -> Sequence[bytes]:
    """Some of the images, to be sent to another process: read there if they lie in files."""
    if isinstance(images, Files):
        return Files(images.base, [images.paths[row] for row in rows])
    some = getattr(images, "take", None)
    return some(rows) if some else [images[row] for row in rows]


def image_hashes(images: Sequence[bytes]) -> list[str]:
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


def content_digest(
    shas: Iterable[str], labels: Iterable[int], split: Iterable[str], names: Iterable[str]
) -> str:
    """A hash of the content of a data set, from the hashes of its images."""
    sha = hashlib.sha256("\0".join(names).encode())
    for image, label, part in zip(shas, labels, split, strict=True):
        sha.update(f"{label}|{part}|{image}|".encode())
    return sha.hexdigest()[:16]


class Files(Sequence[bytes]):
    """The bytes of ``base / path`` for each path; nothing is kept. Raises UsageError on reading."""

    def __init__(self, base: Path, paths: Sequence[str]) -> None:
        self.base = base
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, row: int) -> bytes: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[bytes]: ...
    def __getitem__(self, row: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(row, slice):
            return Files(self.base, self.paths[row])
        path = self.base / self.paths[row]
        try:
            return path.read_bytes()
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror})") from None


def list_folder(folder: Path) -> list[str]:
    """Names in a folder, sorted, hidden ones left out. Raises UsageError without the folder."""
    try:
        return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        reason = "no such folder" if isinstance(error, FileNotFoundError) else error.strerror
        raise UsageError(f"{folder}: {reason}") from None


def missing_files(base: Path, paths: Iterable[str]) -> list[str]:
    """Those of the paths that are not below ``base``; each folder is listed once."""
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
    """A hash of the sizes and times of image files; of what is gone, that it is."""
    sha = hashlib.sha256()
    if isinstance(images, Files):
        for row in rows:
            try:
                found = (images.base / images.paths[row]).stat()
                sha.update(f"{found.st_size},{found.st_mtime_ns};".encode())
            except OSError:
                sha.update(b"gone;")
    return sha.hexdigest()
