"""Files and folders that appear whole or not at all: written aside, brought to disk, renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(target: Path, draft: Path | None = None) -> Iterator[Path]:
    """Yield a path to write a file or a folder to, which becomes ``target`` at the end.

    ``draft`` is that path, beside ``target`` (default: a hidden name with this process's id); what
    a killed writer left there is removed first, and what an error leaves is removed too. A file
    replaces the old file. Raises OSError, also where ``target`` is a folder that is not empty.
    """
    draft = draft or target.with_name(f".{target.name}.{os.getpid()}")
    draft.parent.mkdir(parents=True, exist_ok=True)
    _remove(draft)
    try:
        yield draft
        publish(draft, target)
    finally:
        _remove(draft)


def publish(draft: Path, target: Path) -> None:
    """Bring a file, or a folder with the files in it, to disk and rename it to ``target``."""
    for path in (*(draft.iterdir() if draft.is_dir() else ()), draft):
        _flush(path)
    draft.replace(target)
    _flush(target.parent)


def write_text(target: Path, text: str) -> None:
    """Write a file of which a reader finds the old text or the new one. Raises OSError."""
    with atomic_path(target) as draft:
        draft.write_text(text, encoding="utf-8")


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
