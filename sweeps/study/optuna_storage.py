"""Where studies lie: a SQLite file of this place, or a database server by its URL."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from sqlalchemy.exc import SQLAlchemyError

from harness.spec import paths
from harness.spec.paths import home_folder
from methods.kit.core.errors import UsageError
from sweeps.study import heartbeat


def default_storage() -> str:
    return f"sqlite:///{home_folder() / 'sweeps.db'}"


def is_file(url: str) -> bool:
    return url.startswith("sqlite:///")


def lock_folder(url: str) -> Path:
    """Beside the file, so that whoever shares the study shares its locks."""
    place = Path(url.removeprefix("sqlite:///")).resolve().parent if is_file(url) else home_folder()
    folder = place / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Optuna's storage at a URL. Raises UsageError in one line."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    beats: dict[str, Any] = {}
    if is_file(url):
        kwargs: dict[str, Any] = {"connect_args": {"timeout": 60}}
    else:
        kwargs = {"pool_pre_ping": True}
        beats = {"heartbeat_interval": heartbeat.BEAT, "grace_period": heartbeat.GRACE}
        beats["heartbeat_stale_trial_callback"] = partial(heartbeat.again, tries=heartbeat.TRIES)
    try:
        with FileLock(str(lock_folder(url) / "sweeps.lock")), quiet():
            return optuna.storages.RDBStorage(paths.with_driver(url), engine_kwargs=kwargs, **beats)
    except (SQLAlchemyError, ImportError, RuntimeError, OSError) as error:
        text = " ".join(str(error).split())[:200]
        if isinstance(error, ImportError):
            text += '; pip install "ringbench[db]" has the driver of PostgreSQL'
        raise UsageError(
            f"--storage {paths.without_password(url)}: cannot be opened ({text})"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's warnings: experimental names, heartbeats outside of optimize."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Heartbeat of storage")
        yield
