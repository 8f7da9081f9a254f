"""Reads the runs of MLflow's SQLite store table by table, without importing MLflow.

MLflow's client takes seconds to import and builds its objects run by run. Only schema versions
that were tested are read here; any other store is left to the client.
"""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from harness.tracking.run_record import Run, run_from_mlflow

SCHEMA_VERSIONS = ("dc11669786a5",)  # of MLflow 3.17: its last migration, in alembic_version

RUNS = """
SELECT runs.run_uuid, runs.start_time FROM runs
JOIN experiments USING (experiment_id)
JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = ?
WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active'
AND tags.value != ''
ORDER BY runs.start_time DESC, runs.run_uuid
"""
TEXTS = "SELECT run_uuid, key, value FROM {} ORDER BY rowid"
METRICS = "SELECT run_uuid, key, value, is_nan FROM latest_metrics ORDER BY rowid"
ARTIFACTS = "SELECT artifact_uri FROM runs WHERE run_uuid = ?"

Texts = dict[str, dict[str, str]]  # by run and key


def path_of(uri: str) -> Path | None:
    """Return the file of a SQLite store that exists, else None."""
    path = Path(uri.removeprefix("sqlite:///"))
    plain = uri.startswith("sqlite:///") and "?" not in uri
    return path if plain and path.is_file() else None


def is_readable(path: Path) -> bool:
    """Whether the store can be read here: a tested schema, and no transaction to undo.

    After a kill within a transaction MLflow must open the store first. Raises sqlite3.Error for a
    file that is no database.
    """
    with _opened(path) as store:
        return store is not None


def artifact_uri(path: Path, run_id: str) -> str | None:
    """Return where the artifacts of a run are; None for an unknown run or an unreadable store."""
    with _opened(path) as store:
        row = store.execute(ARTIFACTS, (run_id,)).fetchone() if store else None
    return str(row[0]) if row else None


def read_runs(path: Path, mark: str) -> list[Run] | None:
    """Return every run that has a tag ``mark``, newest first; None for an unreadable store.

    Raises sqlite3.Error for a file that is no database.
    """
    with _opened(path) as store:
        try:
            return _runs(store, mark) if store else None
        except sqlite3.OperationalError:  # it is locked, or its tables are not as expected
            return None


def _runs(store: sqlite3.Connection, mark: str) -> list[Run]:
    started = dict(store.execute(RUNS, (mark,)))
    shared: dict[str, str] = {}  # most texts occur in many runs: one copy of each
    params, tags = (_texts(store, table, started, shared) for table in ("params", "tags"))
    metrics: dict[str, dict[str, float]] = {run: {} for run in started}
    for run, key, value, is_nan in store.execute(METRICS):
        if run in metrics:
            metrics[run][shared.setdefault(key, key)] = math.nan if is_nan else value
    return [run_from_mlflow(i, t, params[i], metrics[i], tags[i]) for i, t in started.items()]


def _texts(
    store: sqlite3.Connection, table: str, runs: dict[str, int], shared: dict[str, str]
) -> Texts:
    texts: Texts = {run: {} for run in runs}
    for run, key, value in store.execute(TEXTS.format(table)):
        if run in texts:
            texts[run][shared.setdefault(key, key)] = shared.setdefault(value, value)
    return texts


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open a store to read one state of all its tables; None where it must be left to MLflow."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=60)) as store:
        store.execute("BEGIN")
        try:
            versions = [row[0] for row in store.execute("SELECT version_num FROM alembic_version")]
        except sqlite3.OperationalError:
            versions = []
        yield store if len(versions) == 1 and versions[0] in SCHEMA_VERSIONS else None
