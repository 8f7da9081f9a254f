"""One MLflow tracking store: runs, parent runs of suites and sweeps, artifacts.

A local SQLite store is read directly where possible (sqlite_reader); everything else goes through
MLflow's client.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from harness.spec.paths import home_folder, tracking_uri
from harness.tracking import mlflow_fields, pending_records, sqlite_reader
from harness.tracking.mlflow_client import Unreachable, make_client, reachable
from harness.tracking.pending_records import PendingRecord
from harness.tracking.run_record import CHECKPOINT_PREFIX, RECORD_TAG, Run, run_from_mlflow

GROUP = "ringbench.group"
REPORT = "report"  # of a suite or sweep: the folder of its tables and figures
BATCH = 1000  # the most metrics that MLflow takes at once
STATUS = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "out_of_memory": "FAILED",
    "pruned": "KILLED",
    "cancelled": "KILLED",
}


class MlflowStore:
    """The runs of one tracking store, and their artifacts. Every method may raise Unreachable."""

    def __init__(self, uri: str | None = None, folder: Path | None = None) -> None:
        self.folder = folder or home_folder()
        self.uri = uri or tracking_uri()

    # --- runs --------------------------------------------------------------------------------

    def connect(self) -> None:
        """Check that the store answers; make it where it is a file that does not exist yet."""
        path = sqlite_reader.path_of(self.uri)
        with reachable():
            if path is None or not sqlite_reader.is_readable(path):
                self._client.search_experiments(max_results=1)

    def runs(self, where: str = "") -> Iterator[Run]:
        """Yield every recorded run, newest first; ``where`` is one more condition for MLflow."""
        path = sqlite_reader.path_of(self.uri)
        with reachable():
            known = None
            if path is not None and not where:
                known = sqlite_reader.read_runs(path, RECORD_TAG)
            if known is not None:
                yield from known
                return
            experiments = [e.experiment_id for e in self._client.search_experiments()]
            query = f"tags.`{RECORD_TAG}` != ''" + (f" AND {where}" if where else "")
            token = None
            while True:
                page = self._client.search_runs(experiments, query, page_token=token)
                for run in page:
                    data, info = run.data, run.info
                    yield run_from_mlflow(
                        info.run_id, info.start_time, data.params, data.metrics, data.tags
                    )
                token = page.token
                if not token:
                    return

    def checkpoint_scores(self, run_id: str, name: str) -> dict[int, float]:
        """Return a validation score of a run's checkpoints, by epoch."""
        with reachable():
            series = self._client.get_metric_history(run_id, f"{CHECKPOINT_PREFIX}{name}")
        return {m.step: m.value for m in series}

    def _deliver(self, record: PendingRecord) -> None:
        """Write one record to MLflow. Safe to repeat: a half-written run is replaced."""
        result = record.result
        status, end = STATUS[result["status"]], int(result["ended"] * 1000)
        with reachable():
            experiment = self._experiment(result["spec"]["protocol"])
            query = f"tags.`{RECORD_TAG}` = '{record.id}'"
            for run in self._client.search_runs([experiment], query):
                if run.info.status == status:
                    return
                self._client.delete_run(run.info.run_id)
            started = int(result["started"] * 1000)
            tags = mlflow_fields.tags_of(result, record.id)
            created = self._client.create_run(experiment, start_time=started, tags=tags)
            run_id = str(created.info.run_id)
            self._log(run_id, result, end)
            for path in record.artifacts():
                self._client.log_artifact(run_id, str(path))
            self._client.set_terminated(run_id, status, end_time=end)

    def _log(self, run_id: str, result: dict[str, Any], time: int) -> None:
        from mlflow.entities import Metric, Param

        params = [Param(k, v) for k, v in mlflow_fields.params_of(result).items()]
        numbers = mlflow_fields.numbers_of(result)
        metrics = [Metric(name, value, time, step) for name, value, step in numbers]
        self._client.log_batch(run_id, metrics=metrics[:BATCH], params=params)
        for start in range(BATCH, len(metrics), BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + BATCH])

    # --- parent runs of suites and sweeps ------------------------------------------------------

    def start_parent(self, name: str, protocol: str, kind: str, note: str) -> str:
        """Return the id of the parent run of a suite or sweep, made if missing.

        ``note`` is the description that MLflow shows.
        """
        with FileLock(str(self._locks / "group.lock")), reachable():
            experiment = self._experiment(protocol)
            query = f"tags.`{GROUP}` = '{name}'"
            for run in self._client.search_runs([experiment], query, max_results=1):
                self._client.set_tag(run.info.run_id, mlflow_fields.NOTE, note)
                return str(run.info.run_id)
            tags = {GROUP: name, "kind": kind, mlflow_fields.NAME: f"{kind} {name}"}
            tags[mlflow_fields.NOTE] = note
            return str(self._client.create_run(experiment, tags=tags).info.run_id)

    def end_parent(self, run_id: str, complete: bool) -> None:
        """Close the parent run of a suite or sweep, if the store still answers."""
        with suppress(Unreachable), reachable():
            self._client.set_terminated(run_id, "FINISHED" if complete else "FAILED")

    def upload_report(self, run_id: str, folder: Path) -> None:
        """Put the files of a folder under ``report/`` of the run of a suite or sweep."""
        with reachable():
            self._client.log_artifacts(run_id, str(folder), REPORT)

    # --- artifacts ---------------------------------------------------------------------------

    @contextmanager
    def artifacts(self, run: Run) -> Iterator[Path]:
        """Provide a local folder with every artifact of a run, to read inside the block."""
        local = self._local_folder(run.id)
        if local is not None:
            yield local
            return
        with TemporaryDirectory() as folder:
            with reachable():
                place = Path(self._client.download_artifacts(run.id, "", folder))
            yield place

    def artifact(self, run_id: str, name: str) -> bytes | None:
        """Return one file of a run, or None where it has none of that name."""
        local = self._local_folder(run_id)
        if local is not None:
            path = local / name
            return path.read_bytes() if path.is_file() else None
        with reachable():
            if name not in {item.path for item in self._client.list_artifacts(run_id)}:
                return None
            with TemporaryDirectory() as folder:
                return Path(self._client.download_artifacts(run_id, name, folder)).read_bytes()

    def predictions(self, run_id: str) -> bytes | None:
        """Return the Parquet file of a run's test predictions, or None."""
        return self.artifact(run_id, pending_records.PREDICTIONS)

    def tables(self, run_id: str) -> bytes | None:
        """Return the Parquet file of the tables that a run's method reports, or None."""
        return self.artifact(run_id, pending_records.TABLES)

    def _local_folder(self, run_id: str) -> Path | None:
        """Return the folder of a run's artifacts where it is on this disk."""
        path = sqlite_reader.path_of(self.uri)
        with reachable():
            uri = sqlite_reader.artifact_uri(path, run_id) if path else None
            place = urlsplit(uri or self._client.get_run(run_id).info.artifact_uri)
        folder = Path(unquote(place.path))
        return folder if place.scheme == "file" and folder.is_dir() else None

    # --- inside ------------------------------------------------------------------------------

    @property
    def _locks(self) -> Path:
        folder = self.folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def _client(self) -> Any:
        return make_client(self.uri, self._locks)

    def _experiment(self, name: str) -> str:
        """Return the id of the experiment of that name, made if missing."""
        known = self._client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        local = self.uri.startswith("sqlite:")
        place = (self.folder / "artifacts" / name).as_uri() if local else None
        return str(self._client.create_experiment(name, artifact_location=place))
