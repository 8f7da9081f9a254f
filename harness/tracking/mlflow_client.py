"""MLflow's client: made quiet, quick to fail, and only when it is needed.

MLflow takes seconds to import.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from methods.kit.core.errors import UsageError

SERVERS = ("postgresql", "mysql", "mssql")  # databases behind a network
PACKAGES = ("mlflow", "requests", "urllib3", "sqlalchemy", "sqlite3")  # raise for a store down
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class Unreachable(UsageError):
    """The tracking store does not answer."""


@contextmanager
def reachable() -> Iterator[None]:
    """Turn what is raised for a store that is down into Unreachable."""
    try:
        yield
    except Unreachable:
        raise
    except Exception as error:
        local = isinstance(error, OSError | ModuleNotFoundError)  # a full disk, a missing driver
        if not local and not type(error).__module__.startswith(PACKAGES):
            raise
        text = " ".join(str(error).split())
        raise Unreachable(text[:200] or type(error).__name__) from error


def make_client(uri: str, locks: Path) -> Any:
    """Return MLflow's client of a store; a SQLite file that does not exist yet is made."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # this one logs what it raises
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    _make_database(uri, locks, MlflowClient)
    _try_server(uri)
    return MlflowClient(tracking_uri=uri)


def _try_server(uri: str) -> None:
    """Connect to a database server once: MLflow would retry for minutes before it fails."""
    if urlsplit(uri).scheme.partition("+")[0] in SERVERS:
        from mlflow.store.db.utils import create_sqlalchemy_engine

        create_sqlalchemy_engine(uri).connect().close()


def _make_database(uri: str, locks: Path, client: Any) -> None:
    """Make a SQLite store whole, by a rename: MLflow takes a second to build its tables and
    cannot open a database whose builder was killed."""
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or "?" in uri or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(locks / "create.lock")):
        if path.exists():
            return
        partial = path.with_name(f".{path.name}-scrap")
        for left in (partial, partial.with_name(f"{partial.name}-journal")):
            left.unlink(missing_ok=True)
        client(tracking_uri=f"sqlite:///{partial}").search_experiments()
        partial.rename(path)
