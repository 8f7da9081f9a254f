"""Where studies are stored: a SQLite file of this machine, or a database server by its URL."""

from functools import partial
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from sqlalchemy.exc import SQLAlchemyError

from harness.spec.paths import home_folder, with_driver, without_password
from methods.kit.core.errors import UsageError
from sweeps.study import trial_claims

SQLITE = "sqlite:///"


def default_storage() -> str:
    return f"{SQLITE}{home_folder() / 'sweeps.db'}"


def is_file(url: str) -> bool:
    return url.startswith(SQLITE)


def lock_folder(url: str) -> Path:
    """Return the folder of a study's locks: beside a SQLite file, so that all its users agree."""
    place = Path(url.removeprefix(SQLITE)).resolve().parent if is_file(url) else home_folder()
    folder = place / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Open Optuna's storage at a URL. Raises UsageError in one line."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options: dict[str, Any] = {"engine_kwargs": {"connect_args": {"timeout": 60}}}
    if not is_file(url):
        options = {
            "engine_kwargs": {"pool_pre_ping": True},
            "heartbeat_interval": trial_claims.BEAT,
            "grace_period": trial_claims.GRACE,
            "heartbeat_stale_trial_callback": partial(
                trial_claims.requeue, retries=trial_claims.RETRIES
            ),
        }
    try:
        with FileLock(str(lock_folder(url) / "sweeps.lock")), trial_claims.quiet():
            return optuna.storages.RDBStorage(with_driver(url), **options)
    except (SQLAlchemyError, ImportError, RuntimeError, OSError) as error:
        text = " ".join(str(error).split())[:200]
        if isinstance(error, ImportError):
            text += '; pip install "ringbench[db]" has the driver of PostgreSQL'
        raise UsageError(f"--storage {without_password(url)}: cannot be opened ({text})") from None
