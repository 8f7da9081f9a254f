"""Where the numbers of a site come from: the ledger, or the records that a site carries along."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from harness.spec.paths import home_folder
from harness.tracking.ledger import Ledger
from harness.tracking.pending_records import PREDICTIONS
from harness.tracking.run_record import Run
from reports.results import predictions, sweeps
from reports.results.predictions import Answers

RECORDS, ANSWERS, TRIAL_RECORDS = (
    "records/runs.jsonl",
    "records/answers.parquet",
    "records/trials.jsonl",
)
OURS = ("spool_entry",)  # tags of the ledger's own housekeeping; so are MLflow's
Curve = list[tuple[int, float]]


class Source(Protocol):
    """All that a site is made of. ``runs`` are in order of their start; ``tuned`` are those of
    trials, which never opened the test split."""

    runs: list[Run]
    tuned: list[Run]
    sweeps: dict[str, "StoredSweep"]

    def file(self, run: Run) -> bytes | None:
        """Predictions as Parquet."""
        ...

    def curve(self, run: Run) -> Curve: ...


@dataclass(frozen=True)
class StoredSweep:
    """A sweep or contest as it lies on disk; a contest has no trials of its own."""

    facts: str
    trials: str

    @property
    def digests(self) -> set[str]:
        """Of the runs of its trials."""
        rows = csv.DictReader(io.StringIO(self.trials))
        return {digest for row in rows for digest in row.get("digests", "").split()}


def public_run(run: Run) -> Run:
    """A run without housekeeping, as a site shows it."""
    tags = {k: v for k, v in run.tags.items() if not k.startswith("mlflow.") and k not in OURS}
    metrics = {name: float(value) for name, value in run.metrics.items()}
    return replace(run, tags=dict(sorted(tags.items())), metrics=metrics)


def ordered_runs(runs: Iterable[Run], tested: bool = True) -> list[Run]:
    """Runs that count for reports, or those that do not, in an order that does not depend on the
    store's."""
    return sorted((r for r in runs if r.tested == tested), key=lambda r: (r.started, r.id))


class FromLedger:
    """The ledger of this place, and the sweeps stored beside it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        every = list(ledger.runs())
        self.runs = [public_run(run) for run in ordered_runs(every)]
        self.sweeps = stored_sweeps()
        digests = {digest for sweep in self.sweeps.values() for digest in sweep.digests}
        mine = (run for run in every if run.digest in digests and run.status == "finished")
        self.tuned = [public_run(run) for run in ordered_runs(mine, tested=False)]

    def file(self, run: Run) -> bytes | None:
        return self.ledger.artifact(run.id, PREDICTIONS)

    def curve(self, run: Run) -> Curve:
        file = self.ledger.artifact(run.id, "curve.parquet")
        if file is None:
            return []
        return predictions.binned_losses(pq.read_table(io.BytesIO(file))["loss"].to_pylist())


def stored_sweeps() -> dict[str, StoredSweep]:
    """Every sweep and contest of this place."""
    found = {}
    for name in sweeps.names():
        facts = sweeps.facts_of(name)
        facts.pop(
            "storage", None
        )  # a database's address is nobody's business, it may hold a password
        trials = home_folder() / "sweeps" / name / "trials.csv"
        text = trials.read_text() if trials.is_file() else ""
        found[name] = StoredSweep(json.dumps(facts, indent=2, sort_keys=True) + "\n", text)
    return found


# --- records that travel with a site --------------------------------------------------------------


def record_line(run: Run, curve: Curve, group: int | None) -> str:
    """A run as a line of runs.jsonl; ``group`` is its row group in answers.parquet."""
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
    """answers.parquet while it is written: a row group a run."""

    def __init__(self) -> None:
        self._file = io.BytesIO()
        self._writer = pq.ParquetWriter(self._file, predictions.SCHEMA, compression="zstd")
        self._groups = 0

    def add(self, table: pa.Table) -> int:
        """Returns the number of the row group."""
        self._writer.write_table(table, row_group_size=max(1, len(table)))
        self._groups += 1
        return self._groups - 1

    def bytes(self) -> bytes:
        self._writer.close()
        return self._file.getvalue()


class FromRecords:
    """What a site carries along. Raises ValueError for what cannot be read as that."""

    def __init__(
        self, lines: str, groups: bytes, sweeps_: dict[str, StoredSweep], tuned: str = ""
    ) -> None:
        mine, theirs = (
            {r["id"]: r for r in map(json.loads, text.splitlines())} for text in (lines, tuned)
        )
        self._records: dict[str, dict[str, Any]] = theirs | mine
        self._groups = pq.ParquetFile(io.BytesIO(groups))
        self.runs = [_run(record) for record in mine.values()]
        self.tuned = [_run(record) for record in theirs.values()]
        self.sweeps = sweeps_

    def file(self, run: Run) -> bytes | None:
        group = self._records[run.id]["answers"]
        return None if group is None else predictions.to_parquet(self._groups.read_row_group(group))

    def curve(self, run: Run) -> Curve:
        return [(int(step), float(loss)) for step, loss in self._records[run.id]["curve"]]


class LedgerOrRecords:
    """Each run of a site's records from the ledger where that has it, else from the records."""

    def __init__(self, ledger: FromLedger, records: FromRecords) -> None:
        known = [*records.runs, *records.tuned]
        theirs = {run.id: run for run in (*ledger.runs, *ledger.tuned)}
        self.here = {run.id for run in known} & set(theirs)
        self.runs = [theirs.get(run.id, run) for run in records.runs]
        self.tuned = [theirs.get(run.id, run) for run in records.tuned]
        self.sweeps = {n: ledger.sweeps.get(n, s) for n, s in records.sweeps.items()}
        self._ledger, self._records = ledger, records

    def file(self, run: Run) -> bytes | None:
        return (self._ledger if run.id in self.here else self._records).file(run)

    def curve(self, run: Run) -> Curve:
        return (self._ledger if run.id in self.here else self._records).curve(run)


def _run(record: dict[str, Any]) -> Run:
    metrics = {name: float(value) for name, value in record["metrics"].items()}
    return Run(
        record["id"],
        record["status"],
        record["params"],
        metrics,
        record["tags"],
        float(record["started"]),
    )


def run_answers(source: Source, run: Run) -> Answers | None:
    """What a run answered, where it is stored."""
    file = source.file(run)
    return None if file is None else predictions.read_answers(file)
