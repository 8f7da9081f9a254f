"""Rows written straight into a store are those that MLflow's client writes."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from harness.evaluate.predict import Predictions
from harness.run import config
from harness.run.result import Result
from harness.tracking.ledger import Ledger
from tests.reports import many_runs

COLUMNS = {
    "runs": "name, source_type, source_name, entry_point_name, user_id, status, start_time,"
    " end_time, source_version, lifecycle_stage",
    "params": "key, value",
    "tags": "key, value",
    "latest_metrics": "key, value, timestamp, step, is_nan",
    "metrics": "key, value, timestamp, step, is_nan",
}


def result(words: list[str], accuracy: float) -> Result:
    spec = config.build("base_to_novel", words)
    right = np.arange(10) < accuracy / 10
    label, sure = np.zeros(10, dtype=np.int64), np.full(10, 0.5, dtype=np.float32)
    part = Predictions("base", np.arange(10), label, 1 - right.astype(np.int64), sure, sure)
    tags = {
        "method": spec.method_name, "dataset": spec.data.name, "protocol": spec.protocol,
        "backbone": "embedded", "shots": "16", "seed": str(spec.seed), "digest": spec.digest(),
        "configuration": spec.configuration(), "selection": "last",
    }  # fmt: skip
    metrics = {"acc/base": part.accuracy, "params/trainable": 10.0}
    return Result(spec, "finished", 1.7e9, 1.7e9 + 9, metrics, tags, [2.0, 1.0, 0.5], None,
                  [part], {"base": ("cat", "dog")})  # fmt: skip


def table(store: Path, name: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(store)) as db:
        found = db.execute(f"SELECT {COLUMNS[name]} FROM {name}").fetchall()
    return sorted(found, key=str)


def test_the_tables_are_those_of_the_client(store: Path, tmp_path: Path) -> None:
    made = [result(["method=lora", "method.rank=4", "data=digits", f"seed={s}"], 50 + 10 * s)
            for s in (1, 2, 3)]  # fmt: skip
    homes = [tmp_path / name for name in ("client", "bulk")]
    for home in homes:
        home.mkdir()
        shutil.copy(store, home / "mlflow.db")
    ledgers = [Ledger(f"sqlite:///{home}/mlflow.db", home) for home in homes]
    assert all(ledgers[0].record(r) for r in made)
    many_runs.write(homes[1] / "mlflow.db", homes[1] / "artifacts", "base_to_novel", made)
    for name in COLUMNS:
        client, straight = (table(home / "mlflow.db", name) for home in homes)
        if name == "tags":
            client, straight = (
                [r for r in rows if r[0] != "spool_entry"] for rows in (client, straight)
            )
        assert straight == client, name
    runs = [{r.digest: r for r in ledger.runs()} for ledger in ledgers]
    assert runs[0].keys() == runs[1].keys()
    for digest, run in runs[0].items():
        other = runs[1][digest]
        assert (run.params, run.metrics) == (other.params, other.metrics)
        assert ledgers[0].predictions(run.id) == ledgers[1].predictions(other.id)
    assert [r.metrics["acc/base"] for r in made] == pytest.approx([60, 70, 80])
