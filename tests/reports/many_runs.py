"""A ledger of many runs, written straight into MLflow's tables.

A run through MLflow's client takes a tenth of a second; ten thousand take the night. What is
written here is what the client writes (tests/reports/test_many_runs.py compares row by row): the
same functions say which tags, params and numbers a result has.
"""

import sqlite3
import uuid
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq

from harness.run.result import Result
from harness.tracking import pending_records
from harness.tracking.mlflow_fields import NAME, numbers_of, params_of, tags_of
from harness.tracking.mlflow_store import STATUS


def write(store: Path, artifacts: Path, protocol: str, results: Iterable[Result]) -> None:
    """Add finished results to a store that MLflow has made."""
    with closing(sqlite3.connect(store)) as db, db:
        experiment = _experiment(db, protocol, artifacts)
        for result in results:
            _run(db, experiment, artifacts / protocol, result)


def _experiment(db: sqlite3.Connection, name: str, artifacts: Path) -> int:
    found = db.execute("SELECT experiment_id FROM experiments WHERE name = ?", (name,)).fetchone()
    if found:
        return int(found[0])
    place = (artifacts / name).as_uri()
    made = db.execute(
        "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time,"
        " last_update_time) VALUES (?, ?, 'active', 0, 0)",
        (name, place),
    )
    assert made.lastrowid is not None
    return made.lastrowid


def _run(db: sqlite3.Connection, experiment: int, place: Path, result: Result) -> None:
    run, kept = uuid.uuid4().hex, pending_records.stored(result)
    tags = tags_of(kept, f"{result.spec.digest()}-{int(result.started * 1e9)}-{run[:6]}")
    start, end = int(result.started * 1000), int(result.ended * 1000)
    folder = place / run / "artifacts"
    db.execute(
        "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id,"
        " status, start_time, end_time, source_version, lifecycle_stage, artifact_uri,"
        " experiment_id) VALUES (?, ?, 'UNKNOWN', '', '', 'unknown', ?, ?, ?, '', 'active', ?, ?)",
        (run, tags[NAME], STATUS[result.status], start, end, folder.as_uri(), experiment),
    )
    db.executemany("INSERT INTO tags VALUES (?, ?, ?)", ((k, v, run) for k, v in tags.items()))
    params = params_of(kept)
    db.executemany("INSERT INTO params VALUES (?, ?, ?)", ((k, v, run) for k, v in params.items()))
    numbers = numbers_of(kept)
    db.executemany(
        "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)"
        " VALUES (?, ?, ?, ?, ?, 0)",
        ((k, v, end, run, step) for k, v, step in numbers),
    )
    latest = {k: (v, step) for k, v, step in numbers}
    db.executemany(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)"
        " VALUES (?, ?, ?, ?, 0, ?)",
        ((k, v, end, step, run) for k, (v, step) in latest.items()),
    )
    if result.predictions:
        pq.write_table(
            pending_records.predictions_table(result), _made(folder) / pending_records.PREDICTIONS
        )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
