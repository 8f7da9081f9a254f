"""Files of decoded pixels: whole or absent, found by what they are made of, within a limit.

A file is written beside its place under a lock, brought to disk, and renamed. Who dies on the way
leaves a part that nobody reads and the next one removes. The least recently used go first.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def size_limit() -> int:
    """How many bytes all files may take together. Raises UsageError."""
    text = os.environ.get(LIMIT, "").strip()
    try:
        wanted = float(text) if text else LIMIT_GB
    except ValueError:
        wanted = -1.0
    if not 0 <= wanted < 1e9:
        raise UsageError(f"{LIMIT}: expected a number of gigabytes, got {text!r}")
    return int(wanted * 1e9)


def cached_files() -> list[CacheEntry]:
    """What is there, the most recently used first."""
    found = [_entry(path) for path in sorted(_folder().glob("*.npy"))]
    return sorted((e for e in found if e), key=lambda e: -e.used)


def fits(size: int) -> bool:
    """Whether a file of that many bytes may be made, if need be in place of all others."""
    ours = sum(e.bytes for e in cached_files())
    return size <= size_limit() and size <= _free() + ours - SPARE_BYTES


@contextmanager
def locked(key: str) -> Iterator[None]:
    """Alone with a key; others wait. Ends with this process, however it ends."""
    with _lock(key):
        yield


def find(key: str) -> CacheEntry | None:
    """The finished file of a key, now the most recently used."""
    entry = _entry(_path(key))
    if entry:
        with suppress(OSError):  # somebody else's file can be read all the same
            os.utime(entry.path)
    return entry


def reserve(key: str, size: int) -> Path:
    """Where to write the file of a key that is held, with room made for it. Raises UsageError."""
    folder = writable_folder(_folder(), f"set {CACHE}")
    for old in folder.glob("*.part"):
        _drop(old.stem, (old,))
    kept = cached_files()
    while kept and (
        sum(e.bytes for e in kept) + size > size_limit() or _free() < size + SPARE_BYTES
    ):
        _remove(kept.pop().key)
    return folder / f"{key}.part"


def publish(key: str, about: dict[str, Any]) -> CacheEntry:
    """The part of a key becomes its file: first what is known of it, then the file itself."""
    written, target = _folder() / f"{key}.part", _path(key)
    facts = {**about, "bytes": written.stat().st_size}
    atomic_files.write_text(target.with_suffix(".json"), json.dumps(facts))
    atomic_files.publish(written, target)
    found = _entry(target)
    assert found is not None, target
    return found


def clear_cache(keys: tuple[str, ...] = ()) -> tuple[int, int]:
    """Remove files by the start of their key, or all. Returns (how many, bytes).

    Raises UsageError for a key that is not there. What a process is making is left to it.
    """
    there = cached_files()
    for key in keys:
        if not any(e.key.startswith(key) for e in there):
            raise unknown(f"cache entry {key!r}", key, [e.key for e in there])
    chosen = [e for e in there if not keys or e.key.startswith(keys)]
    gone = [e for e in chosen if _remove(e.key)]
    if not keys:
        for old in _folder().glob("*.part"):
            _drop(old.stem, (old,))
    return len(gone), sum(e.bytes for e in gone)


def write_note(key: str, facts: dict[str, Any]) -> None:
    """Keep a small note for good."""
    folder = writable_folder(_folder() / "notes", f"set {CACHE}")
    atomic_files.write_text(folder / f"{key}.json", json.dumps(facts))


def read_note(key: str) -> dict[str, Any] | None:
    """A note, if there is one."""
    try:
        found: dict[str, Any] = json.loads((_folder() / "notes" / f"{key}.json").read_text())
    except (OSError, ValueError):
        return None
    return found


def _entry(path: Path) -> CacheEntry | None:
    """A file that is whole; its note is written first and says how long it is."""
    try:
        about = json.loads(path.with_suffix(".json").read_text())
        state = path.stat()
    except (OSError, ValueError):
        return None
    if state.st_size != about["bytes"]:
        return None
    return CacheEntry(path.stem, path, about, state.st_size, state.st_mtime)


def _remove(key: str) -> bool:
    path = _path(key)
    return _drop(key, (path, path.with_suffix(".json")))


def _drop(key: str, paths: tuple[Path, ...]) -> bool:
    """Remove the files of a key unless somebody holds it."""
    try:
        with _lock(key, wait=False):
            for path in paths:
                path.unlink(missing_ok=True)
    except Timeout:
        return False
    return True


def _lock(key: str, wait: bool = True) -> FileLock:
    folder = writable_folder(_folder() / "locks", f"set {CACHE}")
    return FileLock(str(folder / f"{key}.lock"), timeout=-1 if wait else 0)


def _path(key: str) -> Path:
    return _folder() / f"{key}.npy"


def _folder() -> Path:
    return cache_folder() / "pixels"


def _free() -> int:
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def age(entry: CacheEntry) -> str:
    """When a file was last used, for a person."""
    hours = (time.time() - entry.used) / 3600
    return f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} days ago"
