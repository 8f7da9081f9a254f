"""Where results live: ``runs/`` here, or where RINGBENCH_HOME and RINGBENCH_TRACKING_URI say.

Decoded pixels lie under RINGBENCH_CACHE (``cache/`` in the home folder).
"""

import os
from pathlib import Path

from methods.kit.core.errors import UsageError

HOME, TRACKING = "RINGBENCH_HOME", "RINGBENCH_TRACKING_URI"
CACHE = "RINGBENCH_CACHE"


def place() -> Path:
    """Where the folder of results is or will be."""
    return Path(os.environ.get(HOME) or "runs").resolve()


def home() -> Path:
    """The folder of results, made if it is missing. Raises UsageError where it cannot be."""
    return writable(place(), f"set {HOME}")


def cache_folder() -> Path:
    """The folder of what can be made again, whether it is there or not."""
    named = os.environ.get(CACHE)
    return Path(named).resolve() if named else place() / "cache"


def tracking_uri() -> str:
    """The MLflow store: a server or database that was named, else SQLite in the home folder."""
    named = os.environ.get(TRACKING)
    return named or f"sqlite:///{home() / 'mlflow.db'}"


def report_folder(out: Path | None = None) -> Path:
    """The folder of reports, made if it is missing. Raises UsageError where it cannot be."""
    return writable(home() / "report" if out is None else out, "set --out")


def writable(folder: Path, remedy: str) -> Path:
    """A folder, made if it is missing. Raises UsageError, with the remedy, where it cannot be."""
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
