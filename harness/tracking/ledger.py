"""The ledger: an MLflow store behind a folder of pending records.

A result is first written to disk as a pending record, then delivered to MLflow; only then the
record is removed. What cannot be delivered waits: every command that opens the ledger delivers it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from harness.run.result import ONLY_VAL
from harness.spec.paths import TRACKING
from harness.tracking import pending_records
from harness.tracking.mlflow_client import Unreachable
from harness.tracking.mlflow_store import MlflowStore
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError

if TYPE_CHECKING:
    from harness.run.result import Result


class Ledger(MlflowStore):
    """One MLflow store with its pending records."""

    @property
    def pending(self) -> Path:
        """The folder of the records that are not delivered yet."""
        return self.folder / "spool"

    # --- writing -----------------------------------------------------------------------------

    def record(self, result: "Result", parent: str | None = None) -> bool:
        """Record a result; False when it waits for a store that is down."""
        record = pending_records.write(self.pending, result, parent)
        try:
            self.deliver_all()
        except Unreachable:
            return False
        return not record.folder.exists()

    def deliver_all(self) -> int:
        """Deliver every pending record and return how many. Raises Unreachable."""
        if not any(pending_records.waiting(self.pending)):
            return 0
        delivered = 0
        with FileLock(str(self._locks / "deliver.lock")):
            for record in pending_records.waiting(self.pending):
                self._deliver(record)
                pending_records.remove(record)
                delivered += 1
        return delivered

    @contextmanager
    def claim(self, digest: str) -> Iterator[bool]:
        """Whether this process may run a spec: False while another process runs it.

        The claim ends with the block or with the process.
        """
        lock = FileLock(str(self._locks / f"{digest}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    # --- finding -----------------------------------------------------------------------------

    def finished(self) -> set[str]:
        """Return the run ids of finished, tested runs, delivered or pending."""
        done = {run.digest for run in self.runs() if run.finished and run.tested}
        pending = (record.result for record in pending_records.waiting(self.pending))
        return done | {
            result["digest"]
            for result in pending
            if result["status"] == "finished" and result["tags"]["selection"] != ONLY_VAL
        }

    def find(self, digest: str, test: bool = True) -> Run | None:
        """Return the newest finished run of a run id; ``test=False`` includes untested ones."""
        runs = self.runs(f"tags.digest = '{digest}'")
        done = [run for run in runs if run.finished and (run.tested or not test)]
        return max(done, key=lambda run: run.started, default=None)

    def find_by_prefix(self, word: str) -> Run:
        """Return the finished, tested run whose run id or MLflow id begins with a word.

        Raises UsageError unless there is exactly one.
        """
        runs = [
            run
            for run in self.runs()
            if run.finished
            and run.tested
            and (run.id.startswith(word) or run.digest.startswith(word))
        ]
        if not runs or not word:
            raise UsageError(f"run {word!r}: no finished run of that id; see `ringbench ls runs`")
        ids = sorted({run.digest for run in runs})
        if len(ids) > 1:
            raise UsageError(
                f"run {word!r}: several run ids begin so ({', '.join(ids[:5])}); give more of it"
            )
        return max(runs, key=lambda run: run.started)


def open_ledger(uri: str | None = None) -> Ledger:
    """Return the ledger, with pending records delivered. Raises UsageError for a dead store."""
    ledger = Ledger(uri)
    try:
        ledger.deliver_all()
        ledger.connect()
    except Unreachable as error:
        waiting = len(list(pending_records.waiting(ledger.pending)))
        kept = f"; {waiting} results wait safely in {ledger.pending}" if waiting else ""
        advice = f"start it, or unset {TRACKING} to use SQLite"
        if ledger.uri.startswith("sqlite:"):
            advice = "if the file is damaged, restore it or move it away: a new one is made"
        raise UsageError(
            f"the tracking store {ledger.uri} does not answer ({error}){kept}; {advice}"
        ) from None
    return ledger
