"""Cache files of decoded pixels: whole or absent, found by content, within a size limit.

A file is written under a lock beside its final name, brought to disk and renamed. A writer that is
killed leaves a part that nobody reads and the next writer removes. The least recently used files
are removed first.
"""

import json
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.spec import atomic_files
from harness.spec.paths import CACHE, cache_folder, writable_folder
from methods.kit.core.errors import UsageError, unknown

LIMIT = "RINGBENCH_CACHE_GB"
LIMIT_GB = 50.0
SPARE_BYTES = 1 << 30  # of the disk, left free


@dataclass(frozen=True)
class CacheEntry:
    """One finished file."""

    key: str
    path: Path
    about: dict[str, Any]
    bytes: int
    used: float  # seconds since 1970

    @property
    def age(self) -> str:
        """When it was last used, for a person."""
        hours = (time.time() - self.used) / 3600
        return f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} days ago"


def size_limit() -> int:
    """Return how many bytes all files may take together. Raises UsageError."""
    text = os.environ.get(LIMIT, "").strip()
    try:
        gigabytes = float(text) if text else LIMIT_GB
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < 1e9:
        raise UsageError(f"{LIMIT}: expected a number of gigabytes, got {text!r}")
    return int(gigabytes * 1e9)


def cached_files() -> list[CacheEntry]:
    """Return the finished files, the most recently used first."""
    found = [_entry(path.stem) for path in sorted(_folder().glob("*.npy"))]
    return sorted((e for e in found if e), key=lambda e: -e.used)


def fits(size: int) -> bool:
    """Return whether a file of that many bytes may be made, if need be in place of all others."""
    ours = sum(e.bytes for e in cached_files())
    return size <= size_limit() and size <= _free_bytes() + ours - SPARE_BYTES


def lock(key: str, wait: bool = True) -> FileLock:
    """Return the lock of a key, to be entered; it ends with this process, however it ends."""
    folder = writable_folder(_folder() / "locks", f"set {CACHE}")
    return FileLock(str(folder / f"{key}.lock"), timeout=-1 if wait else 0)


def find(key: str) -> CacheEntry | None:
    """Return the finished file of a key and mark it as the most recently used."""
    entry = _entry(key)
    if entry:
        with suppress(OSError):  # another user's file can still be read
            os.utime(entry.path)
    return entry


def reserve(key: str, size: int) -> Path:
    """Make room for a file and return where to write it, under its lock. Raises UsageError."""
    folder = writable_folder(_folder(), f"set {CACHE}")
    _remove_parts()
    there = cached_files()
    while there and (
        sum(e.bytes for e in there) + size > size_limit() or _free_bytes() < size + SPARE_BYTES
    ):
        _remove(there.pop().key, ("npy", "json"))
    return folder / f"{key}.part"


def publish(key: str, about: dict[str, Any]) -> CacheEntry:
    """Turn the written part of a key into its file; the note about it comes first."""
    written = _path(key, "part")
    note = json.dumps({**about, "bytes": written.stat().st_size})
    atomic_files.write_text(_path(key, "json"), note)
    atomic_files.publish(written, _path(key, "npy"))
    entry = _entry(key)
    assert entry is not None, key
    return entry


def clear_cache(keys: tuple[str, ...] = ()) -> tuple[int, int]:
    """Remove files by the start of their key, or all. Returns (number, bytes).

    Files that a process is writing stay. Raises UsageError for an unknown key.
    """
    there = cached_files()
    for key in keys:
        if not any(e.key.startswith(key) for e in there):
            raise unknown(f"cache entry {key!r}", key, [e.key for e in there])
    chosen = [e for e in there if not keys or e.key.startswith(keys)]
    gone = [e for e in chosen if _remove(e.key, ("npy", "json"))]
    if not keys:
        _remove_parts()
    return len(gone), sum(e.bytes for e in gone)


def write_note(key: str, facts: dict[str, Any]) -> None:
    """Store a small note for good."""
    folder = writable_folder(_folder() / "notes", f"set {CACHE}")
    atomic_files.write_text(folder / f"{key}.json", json.dumps(facts))


def read_note(key: str) -> dict[str, Any] | None:
    """Return a note, if there is one."""
    return _read_json(_folder() / "notes" / f"{key}.json")


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found


def _entry(key: str) -> CacheEntry | None:
    """Return a file that is whole; its note says how long it is."""
    path, about = _path(key, "npy"), _read_json(_path(key, "json"))
    try:
        state = path.stat()
    except OSError:
        return None
    if about is None or state.st_size != about["bytes"]:
        return None
    return CacheEntry(key, path, about, state.st_size, state.st_mtime)


def _remove_parts() -> None:
    for part in _folder().glob("*.part"):
        _remove(part.stem, ("part",))


def _remove(key: str, suffixes: Iterable[str]) -> bool:
    """Remove the files of a key, unless a process holds its lock."""
    try:
        with lock(key, wait=False):
            for suffix in suffixes:
                _path(key, suffix).unlink(missing_ok=True)
    except Timeout:
        return False
    return True


def _path(key: str, suffix: str) -> Path:
    return _folder() / f"{key}.{suffix}"


def _folder() -> Path:
    return cache_folder() / "pixels"


def _free_bytes() -> int:
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
