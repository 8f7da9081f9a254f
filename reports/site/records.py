"""Sources of a site's numbers: the ledger, or the records that the site carries along."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from harness.spec.paths import home_folder
from harness.tracking import sweep_record
from harness.tracking.ledger import Ledger
from harness.tracking.pending_records import PREDICTIONS
from harness.tracking.run_record import Run
from reports.results import predictions
from reports.results.predictions import Answers
from reports.results.sweep_results import Sweep

RECORDS = "records/runs.jsonl"
TRIAL_RECORDS = "records/trials.jsonl"
ANSWERS = "records/answers.parquet"
INTERNAL_TAGS = ("spool_entry",)  # the ledger's own, like those of MLflow
Curve = list[tuple[int, float]]  # step, training loss


@dataclass(frozen=True)
class StoredSweep:
    """The stored files of a sweep, or of an equal-budget comparison, which has no trials."""

    facts: str
    trials: str

    @property
    def digests(self) -> set[str]:
        """Digests of the runs of its trials."""
        rows = csv.DictReader(io.StringIO(self.trials))
        return {digest for row in rows for digest in row.get("digests", "").split()}

    @cached_property
    def sweep(self) -> Sweep:
        return Sweep(json.loads(self.facts), pd.read_csv(io.StringIO(self.trials)))


class Source(Protocol):
    """Everything that a site is made of.

    ``runs`` are ordered by start; ``tuned`` are runs of trials, which never read the test split.
    """

    runs: list[Run]
    tuned: list[Run]
    sweeps: dict[str, StoredSweep]

    def file(self, run: Run) -> bytes | None:
        """Return the run's predictions as Parquet."""
        ...

    def curve(self, run: Run) -> Curve: ...


def run_answers(source: Source, run: Run) -> Answers | None:
    """Return a run's answers, where they are stored."""
    file = source.file(run)
    return None if file is None else predictions.read_answers(file)


# --- from the ledger ------------------------------------------------------------------------------


class FromLedger:
    """The ledger and the sweeps that are stored beside it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        recorded = list(ledger.runs())
        self.runs = [public_run(run) for run in ordered_runs(recorded)]
        self.sweeps = stored_sweeps()
        digests = {digest for sweep in self.sweeps.values() for digest in sweep.digests}
        tuned = (run for run in recorded if run.digest in digests and run.status == "finished")
        self.tuned = [public_run(run) for run in ordered_runs(tuned, tested=False)]

    def file(self, run: Run) -> bytes | None:
        return self.ledger.artifact(run.id, PREDICTIONS)

    def curve(self, run: Run) -> Curve:
        file = self.ledger.artifact(run.id, "curve.parquet")
        if file is None:
            return []
        return predictions.binned_losses(pq.read_table(io.BytesIO(file))["loss"].to_pylist())


def public_run(run: Run) -> Run:
    """Return a run without internal tags, as a site shows it."""
    internal = {k for k in run.tags if k.startswith("mlflow.") or k in INTERNAL_TAGS}
    tags = {k: run.tags[k] for k in sorted(run.tags.keys() - internal)}
    return replace(run, tags=tags, metrics={k: float(v) for k, v in run.metrics.items()})


def ordered_runs(runs: Iterable[Run], tested: bool = True) -> list[Run]:
    """Return tested runs, or the others, in an order that does not depend on the store."""
    return sorted((r for r in runs if r.tested == tested), key=lambda r: (r.started, r.id))


def stored_sweeps() -> dict[str, StoredSweep]:
    """Return every stored sweep and equal-budget comparison."""
    found = {}
    for name in sweep_record.sweep_names():
        facts = sweep_record.read_sweep(name).facts
        facts.pop("storage", None)  # the address of a database may hold a password
        trials = home_folder() / "sweeps" / name / "trials.csv"
        text = trials.read_text() if trials.is_file() else ""
        found[name] = StoredSweep(json.dumps(facts, indent=2, sort_keys=True) + "\n", text)
    return found


# --- records that travel with a site --------------------------------------------------------------


def record_line(run: Run, curve: Curve, group: int | None) -> str:
    """Return a run as a line of runs.jsonl; ``group`` is its row group in answers.parquet."""
    record = {
        "id": run.id,
        "status": run.status,
        "started": run.started,
        "tags": run.tags,
        "params": run.params,
        "metrics": run.metrics,
        "curve": curve,
        "answers": group,
    }
    return json.dumps(record, sort_keys=True, ensure_ascii=False) + "\n"


class AnswersFile:
    """answers.parquet while it is written: a row group for each run."""

    def __init__(self) -> None:
        self._file, self._groups = io.BytesIO(), 0
        self._writer = pq.ParquetWriter(self._file, predictions.SCHEMA, compression="zstd")

    def add(self, table: pa.Table) -> int:
        """Write the answers of a run and return the number of their row group."""
        self._writer.write_table(table, row_group_size=max(1, len(table)))
        self._groups += 1
        return self._groups - 1

    def bytes(self) -> bytes:
        self._writer.close()
        return self._file.getvalue()


class FromRecords:
    """The records of a site. Raises ValueError for content that cannot be read as records."""

    def __init__(
        self, runs: str, answers: bytes, sweeps: dict[str, StoredSweep], tuned: str = ""
    ) -> None:
        tested, trials = (
            {r["id"]: r for r in map(json.loads, text.splitlines())} for text in (runs, tuned)
        )
        self._records: dict[str, dict[str, Any]] = trials | tested
        self._answers = pq.ParquetFile(io.BytesIO(answers))
        self.runs = [_run(record) for record in tested.values()]
        self.tuned = [_run(record) for record in trials.values()]
        self.sweeps = sweeps

    def file(self, run: Run) -> bytes | None:
        group = self._records[run.id]["answers"]
        return (
            None if group is None else predictions.to_parquet(self._answers.read_row_group(group))
        )

    def curve(self, run: Run) -> Curve:
        return [(int(step), float(loss)) for step, loss in self._records[run.id]["curve"]]


def _run(record: dict[str, Any]) -> Run:
    fields = {k: record[k] for k in ("id", "status", "params", "tags")}
    metrics = {name: float(value) for name, value in record["metrics"].items()}
    return Run(**fields, metrics=metrics, started=float(record["started"]))


def read_site_records(folder: Path) -> FromRecords:
    """Read the records of a site. Raises OSError, ValueError, KeyError or TypeError."""
    sweeps = {}
    for path in sorted(folder.glob("sweeps/*/sweep.json")):
        facts, trials = path.read_text(encoding="utf-8"), path.with_name("trials.csv")
        text = trials.read_text(encoding="utf-8") if trials.is_file() else ""
        sweeps[str(json.loads(facts)["name"])] = StoredSweep(facts, text)
    runs = (folder / RECORDS).read_text(encoding="utf-8")
    trials = folder / TRIAL_RECORDS
    tuned = trials.read_text(encoding="utf-8") if trials.is_file() else ""
    return FromRecords(runs, (folder / ANSWERS).read_bytes(), dict(sorted(sweeps.items())), tuned)


class LedgerOrRecords:
    """Each run of a site's records, from the ledger where that has it."""

    def __init__(self, ledger: FromLedger, records: FromRecords) -> None:
        recorded = {run.id: run for run in (*ledger.runs, *ledger.tuned)}
        self.here = {run.id for run in (*records.runs, *records.tuned)} & set(recorded)
        self.runs = [recorded.get(run.id, run) for run in records.runs]
        self.tuned = [recorded.get(run.id, run) for run in records.tuned]
        self.sweeps = {n: ledger.sweeps.get(n, s) for n, s in records.sweeps.items()}
        self._ledger, self._records = ledger, records

    def _source(self, run: Run) -> Source:
        return self._ledger if run.id in self.here else self._records

    def file(self, run: Run) -> bytes | None:
        return self._source(run).file(run)

    def curve(self, run: Run) -> Curve:
        return self._source(run).curve(run)
