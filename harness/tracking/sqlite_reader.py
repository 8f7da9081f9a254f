"""A SQLite store of MLflow's, read by whole tables: of ten thousand runs in seconds, not minutes.

MLflow's client builds objects run by run. Here each of its tables is read once. What it would say
is what this says (tests/harness/tracking/test_sqlite_reader.py); a store whose tables are not as
known is left to MLflow.
"""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

RUNS = """
SELECT runs.run_uuid, runs.start_time FROM runs
JOIN experiments USING (experiment_id)
JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = ?
WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active'
AND tags.value != ''
ORDER BY runs.start_time DESC, runs.run_uuid
"""
WORDS = "SELECT run_uuid, key, value FROM {} ORDER BY rowid"
NUMBERS = "SELECT run_uuid, key, value, is_nan FROM latest_metrics ORDER BY rowid"


class Row(NamedTuple):
    """A run as it is stored; ``started`` in milliseconds."""

    id: str
    started: int
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


def path_of(uri: str) -> Path | None:
    """The file of a SQLite store that is there, or None."""
    path = Path(uri.removeprefix("sqlite:///"))
    plain = uri.startswith("sqlite:///") and "?" not in uri
    return path if plain and path.is_file() else None


def answers(path: Path) -> bool:
    """Whether a file is a store that can be read as it lies; after a kill in the middle of a
    transaction MLflow must open it first, to undo that. Raises sqlite3.Error for one that is no
    database."""
    with closing(_open(path)) as store:
        try:
            found = store.execute("SELECT count(*) FROM sqlite_master WHERE name = 'runs'")
            return bool(found.fetchone()[0])
        except sqlite3.OperationalError:
            return False


def read(path: Path, mark: str) -> Iterator[Row] | None:
    """Every run that has a tag ``mark``, newest first; None where the tables are not as known or
    cannot be read as they lie.

    Raises sqlite3.Error for a file that is no database.
    """
    with closing(_open(path)) as store:
        store.execute("BEGIN")  # one state of all tables, whoever writes meanwhile
        try:
            found = {
                run: Row(run, started, {}, {}, {}) for run, started in store.execute(RUNS, (mark,))
            }
            _fill(store, found)
        except sqlite3.OperationalError:
            return None
    return iter(found.values())


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=60)


def _fill(store: sqlite3.Connection, found: dict[str, Row]) -> None:
    same: dict[str, str] = {}  # most values are those of many runs: each is kept once
    for table in ("params", "tags"):
        words = {run: getattr(row, table) for run, row in found.items()}
        for run, key, value in store.execute(WORDS.format(table)):
            if run in words:
                words[run][same.setdefault(key, key)] = same.setdefault(value, value)
    for run, key, value, is_nan in store.execute(NUMBERS):
        if run in found:
            found[run].metrics[same.setdefault(key, key)] = math.nan if is_nan else value
