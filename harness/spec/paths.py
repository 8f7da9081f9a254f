"""Folders and databases of results: ``runs/`` here, or RINGBENCH_HOME and RINGBENCH_TRACKING_URI.

Decoded pixels lie under RINGBENCH_CACHE (``cache/`` in the home folder by default).
"""

import os
import re
from pathlib import Path

from methods.kit.core.errors import UsageError

HOME, TRACKING = "RINGBENCH_HOME", "RINGBENCH_TRACKING_URI"
CACHE = "RINGBENCH_CACHE"


def home_path() -> Path:
    """Return the folder of results, which may not exist yet."""
    return Path(os.environ.get(HOME) or "runs").resolve()


def home_folder() -> Path:
    """Return the folder of results, made if missing. Raises UsageError if it cannot be written."""
    return writable_folder(home_path(), f"set {HOME}")


def cache_folder() -> Path:
    """Return the folder of caches, which may not exist yet."""
    named = os.environ.get(CACHE)
    return Path(named).resolve() if named else home_path() / "cache"


def tracking_uri() -> str:
    """Return the MLflow store: the named server or database, else SQLite in the home folder."""
    named = os.environ.get(TRACKING)
    return named or f"sqlite:///{home_folder() / 'mlflow.db'}"


def report_folder(out: Path | None = None) -> Path:
    """Return the folder of reports, made if missing. Raises UsageError if it cannot be written."""
    return writable_folder(home_folder() / "report" if out is None else out, "set --out")


def writable_folder(folder: Path, remedy: str) -> Path:
    """Return a folder, made if missing. Raises UsageError with the remedy if it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be written to ({error.strerror}); {remedy} to a folder that can"
        ) from None
    return folder


def with_driver(url: str) -> str:
    """Return a URL with the PostgreSQL driver of ringbench[db], unless it names a driver."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)


def without_password(url: str) -> str:
    """Return a URL without its password, for screens and records."""
    return re.sub(r"//([^:@/]*):[^@/]*@", r"//\1@", url)
