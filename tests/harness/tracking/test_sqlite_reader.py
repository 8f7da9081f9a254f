"""Runs read from SQLite are those that MLflow's client returns."""

import math
import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.tracking import sqlite_reader
from harness.tracking.ledger import Ledger, open_ledger
from harness.tracking.run_record import CHECKPOINT_PREFIX, RECORD_TAG
from methods.kit.core.errors import UsageError


@pytest.fixture
def ledger(store: Path, own_home: Path) -> Ledger:
    """Runs of every kind: whole, deleted, of a deleted experiment, a parent, with odd values."""
    own_home.mkdir()
    shutil.copy(store, own_home / "mlflow.db")
    client = MlflowClient(f"sqlite:///{own_home}/mlflow.db")
    place = (own_home / "artifacts").as_uri()
    first, gone = (client.create_experiment(n, artifact_location=place) for n in ("a", "b"))
    for i, experiment in enumerate([first, first, first, first, gone]):
        tags = {RECORD_TAG: f"entry {i}", "status": "finished", "digest": f"d{i}", "odd": "ü, 'x'"}
        run = client.create_run(experiment, start_time=1000 * (i % 3), tags=tags).info.run_id
        client.log_param(run, "method.rank", str(i))
        client.log_metric(run, "acc/test", i / 3)
        for step, value in enumerate((3.0, 2.0, 1.0)):
            client.log_metric(run, "loss/train", value, step=step)
        client.log_metric(run, f"{CHECKPOINT_PREFIX}acc/val", 5.0)
        client.log_metric(run, "ece/test", math.nan if i == 1 else math.inf)
        if i == 3:
            client.delete_run(run)
    client.create_run(first, tags={"ringbench.group": "a suite"})
    client.delete_experiment(gone)
    return Ledger()


def test_it_says_what_mlflow_says(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = list(ledger.runs())
    monkeypatch.setattr(sqlite_reader, "path_of", lambda uri: None)
    slow = list(ledger.runs())
    assert [r.id for r in quick] == [r.id for r in slow]
    assert len(quick) == 3
    for one, two in zip(quick, slow, strict=True):
        assert (one.status, one.params, one.tags, one.started) == (
            (two.status, two.params, two.tags, two.started)
        )
        assert one.metrics == pytest.approx(two.metrics, nan_ok=True, rel=0, abs=0)
    assert {r.metrics["loss/train"] for r in quick} == {1.0}


def test_an_unknown_schema_version_is_left_to_mlflow(
    ledger: Ledger, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = list(ledger.runs())
    copy = Path(shutil.copy(own_home / "mlflow.db", tmp_path))
    with sqlite3.connect(copy) as store:
        store.execute("UPDATE alembic_version SET version_num = '0123456789ab'")
    store.close()
    assert sqlite_reader.read_runs(copy, RECORD_TAG) is None
    assert sqlite_reader.artifact_uri(copy, known[0].id) is None
    assert not sqlite_reader.is_readable(copy)
    monkeypatch.setattr("mlflow.store.db.utils._verify_schema", lambda engine: None)
    through_mlflow = Ledger(f"sqlite:///{copy}", tmp_path).runs()
    assert [(r.id, r.params, r.tags) for r in through_mlflow] == [
        (r.id, r.params, r.tags) for r in known
    ]


def test_unknown_columns_are_left_to_mlflow(ledger: Ledger, own_home: Path) -> None:
    database = own_home / "mlflow.db"
    assert sqlite_reader.read_runs(database, RECORD_TAG) is not None
    with sqlite3.connect(database) as store:
        store.execute("ALTER TABLE latest_metrics RENAME COLUMN is_nan TO is_odd")
    store.close()
    assert sqlite_reader.read_runs(database, RECORD_TAG) is None


def test_a_store_whose_writer_was_killed_is_left_to_mlflow(
    ledger: Ledger, own_home: Path, tmp_path: Path
) -> None:
    """Half a transaction lies in the file and its undoing beside it, as after kill -9."""
    known = [r.id for r in ledger.runs()]
    place = tmp_path / "killed"
    place.mkdir()
    store = sqlite3.connect(own_home / "mlflow.db", isolation_level=None)
    store.execute("PRAGMA cache_size = 1")  # so that changes reach the file before their end
    store.execute("BEGIN")
    store.execute("UPDATE tags SET value = value || 'half'")
    store.execute("UPDATE params SET value = value || 'half'")
    for path in own_home.glob("mlflow.db*"):
        shutil.copy(path, place)
    store.close()
    assert (place / "mlflow.db-journal").stat().st_size
    assert sqlite_reader.read_runs(place / "mlflow.db", RECORD_TAG) is None
    there = Ledger(f"sqlite:///{place}/mlflow.db", place)
    there.connect()
    assert [r.id for r in there.runs()] == known


def test_a_file_that_is_no_database_is_told(own_home: Path) -> None:
    own_home.mkdir()
    (own_home / "mlflow.db").write_text("not a database, whatever the name of this file may say")
    with pytest.raises(UsageError, match=r"does not answer .* move it away"):
        open_ledger()
