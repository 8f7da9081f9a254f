"""The ledger: MLflow behind a spool. The only module that knows MLflow.

A result is written to the spool, delivered to MLflow, and only then forgotten by the spool. What
cannot be delivered waits; every command that opens the ledger delivers what is left.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from harness.run.result import ONLY_VAL, Result
from harness.spec.paths import TRACKING, home_folder, tracking_uri
from harness.tracking import spool, sqlite_reader
from harness.tracking.mlflow_fields import ENTRY, MIDWAY, NAME, NOTE, numbers_of, params_of, tags_of
from methods.kit.core.errors import UsageError

GROUP = "ringbench.group"
REPORT = "report"  # of a suite or sweep: the folder of its tables and pictures
BATCH = 1000  # metrics that MLflow takes at once
SERVERS = ("postgresql", "mysql", "mssql")  # databases behind a network
STATUS = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "out_of_memory": "FAILED",
    "pruned": "KILLED",
    "cancelled": "KILLED",
}


class Unreachable(UsageError):
    """The tracking store does not answer."""


@dataclass(frozen=True)
class Run:
    """One row of the ledger, delivered to MLflow."""

    id: str
    status: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    started: float

    @property
    def digest(self) -> str:
        return self.tags.get("digest", "")

    @property
    def tested(self) -> bool:
        """False for a run that served to choose settings on validation data."""
        return self.tags.get("selection") != ONLY_VAL


class Ledger:
    """One MLflow store with its spool. Opening it delivers what waits there."""

    def __init__(self, uri: str | None = None, folder: Path | None = None) -> None:
        self.folder = folder or home_folder()
        self.uri = uri or tracking_uri()
        self.spool = self.folder / "spool"
        self._folders: dict[str, Path | None] = {}

    # --- writing -----------------------------------------------------------------------------

    def record(self, result: Result, parent: str | None = None) -> bool:
        """Keep a result for good. False when it waits in the spool for a store that is down."""
        entry = spool.write(self.spool, result, parent)
        try:
            self.deliver_all()
        except Unreachable:
            return False
        return not entry.folder.exists()

    def deliver_all(self) -> int:
        """Deliver what waits in the spool; returns how many. Raises Unreachable."""
        delivered = 0
        if not any(spool.waiting(self.spool)):
            return 0
        with FileLock(str(self._locks / "deliver.lock")):
            for entry in spool.waiting(self.spool):
                self._deliver(entry)
                spool.remove(entry)
                delivered += 1
        return delivered

    @contextmanager
    def claim(self, digest: str) -> Iterator[bool]:
        """Whether this process may run a spec; False while another one does. Ends with us."""
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

    def group(self, name: str, protocol: str, kind: str, note: str) -> str:
        """The id of the parent run of a suite or sweep, made when it is not there yet; ``note``
        is what a person reads about it in MLflow."""
        with FileLock(str(self._locks / "group.lock")), _reaching(self.uri):
            experiment = self._experiment(protocol)
            query = f"tags.`{GROUP}` = '{name}'"
            for run in self._client.search_runs([experiment], query, max_results=1):
                self._client.set_tag(run.info.run_id, NOTE, note)
                return str(run.info.run_id)
            tags = {GROUP: name, "kind": kind, NAME: f"{kind} {name}", NOTE: note}
            return str(self._client.create_run(experiment, tags=tags).info.run_id)

    def end_group(self, run_id: str, complete: bool) -> None:
        """Close the parent run of a suite or sweep, if the store still answers."""
        with suppress(Unreachable), _reaching(self.uri):
            self._client.set_terminated(run_id, "FINISHED" if complete else "FAILED")

    def attach(self, run_id: str, folder: Path) -> None:
        """Put the files of a folder under ``report/`` of a suite's or sweep's run. Raises
        Unreachable."""
        with _reaching(self.uri):
            self._client.log_artifacts(run_id, str(folder), REPORT)

    # --- reading -----------------------------------------------------------------------------

    def finished(self) -> set[str]:
        """Digests of the runs that are done, in MLflow or waiting to be delivered to it."""
        done = {run.digest for run in self.runs() if run.status == "finished" and run.tested}
        return done | {
            e.result["digest"]
            for e in spool.waiting(self.spool)
            if e.result["status"] == "finished" and e.result["tags"]["selection"] != ONLY_VAL
        }

    def find(self, digest: str, test: bool = True) -> Run | None:
        """The newest finished run of a spec's digest; ``test=False`` takes untested ones too."""
        found = [
            run
            for run in self.runs(f"tags.digest = '{digest}'")
            if run.status == "finished" and (run.tested or not test)
        ]
        return max(found, key=lambda r: r.started, default=None)

    def pick(self, word: str) -> Run:
        """The finished, tested run whose id or digest begins with a word. Raises UsageError."""
        found = [
            run
            for run in self.runs()
            if run.status == "finished"
            and run.tested
            and (run.id.startswith(word) or run.digest.startswith(word))
        ]
        if not found or not word:
            raise UsageError(f"run {word!r}: no finished run of that id; see `ringbench ls runs`")
        if len({run.digest for run in found}) > 1:
            ids = ", ".join(sorted({run.digest for run in found})[:5])
            raise UsageError(f"run {word!r}: several begin so ({ids}); give more of it")
        return max(found, key=lambda r: r.started)

    def reach(self) -> None:
        """Look whether the store answers, and make it where it is to be. Raises Unreachable."""
        path = sqlite_reader.path_of(self.uri)
        with _reaching(self.uri):
            if path is None or not sqlite_reader.answers(path):
                self._client.search_experiments(max_results=1)

    def runs(self, where: str = "") -> Iterator[Run]:
        """Every recorded run, newest first. Raises Unreachable."""
        path = sqlite_reader.path_of(self.uri)
        if path is not None and not where:
            with _reaching(self.uri):
                found = sqlite_reader.read(path, ENTRY)
            if found is not None:
                yield from (_run(r.id, r.params, r.metrics, r.tags, r.started) for r in found)
                return
        with _reaching(self.uri):
            experiments = [e.experiment_id for e in self._client.search_experiments()]
            query = f"tags.`{ENTRY}` != ''" + (f" AND {where}" if where else "")
            token = None
            while True:
                page = self._client.search_runs(
                    experiments, query, max_results=1000, page_token=token
                )
                for r in page:
                    data = r.data
                    yield _run(
                        r.info.run_id, data.params, data.metrics, data.tags, r.info.start_time
                    )
                token = page.token
                if not token:
                    return

    def midway(self, run_id: str, name: str) -> dict[int, float]:
        """A validation score of a run by the epoch after which it was looked at on the way."""
        with _reaching(self.uri):
            series = self._client.get_metric_history(run_id, f"{MIDWAY}{name}")
        return {m.step: m.value for m in series}

    @contextmanager
    def artifacts(self, run: Run) -> Iterator[Path]:
        """A local folder with every artifact of a run, for as long as it is needed."""
        with TemporaryDirectory() as folder:
            with _reaching(self.uri):
                found = Path(self._client.download_artifacts(run.id, "", folder))
            yield found

    def artifact(self, run: Run, name: str) -> bytes | None:
        """One file of a run, or None where it has none; straight from a folder on this disk."""
        folder = self._folder(run.tags["protocol"])
        if folder is not None:
            path = folder / run.id / "artifacts" / name
            return path.read_bytes() if path.is_file() else None
        with _reaching(self.uri):
            if name not in {item.path for item in self._client.list_artifacts(run.id)}:
                return None
            with TemporaryDirectory() as place:
                return Path(self._client.download_artifacts(run.id, name, place)).read_bytes()

    def predictions(self, run_id: str) -> bytes | None:
        """The Parquet file of a run's test predictions, or None where it has none."""
        return self._artifact(run_id, spool.PREDICTIONS)

    def tables(self, run_id: str) -> bytes | None:
        """The Parquet file of what a run's method reports of itself, or None."""
        return self._artifact(run_id, spool.TABLES)

    def _artifact(self, run_id: str, name: str) -> bytes | None:
        with _reaching(self.uri):
            names = {item.path for item in self._client.list_artifacts(run_id)}
            if name not in names:
                return None
            with TemporaryDirectory() as folder:
                place = self._client.download_artifacts(run_id, name, folder)
                return Path(place).read_bytes()

    # --- inside ------------------------------------------------------------------------------

    @property
    def _locks(self) -> Path:
        folder = self.folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def _client(self) -> Any:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow import MlflowClient  # takes seconds to import
        for name in ("alembic", "mlflow"):
            logging.getLogger(name).setLevel(logging.WARNING)
        told_once = "mlflow.store.db.utils"  # logs what it raises, too
        logging.getLogger(told_once).setLevel(logging.CRITICAL)
        self._make_database(MlflowClient)
        self._knock()
        return MlflowClient(tracking_uri=self.uri)

    def _knock(self) -> None:
        """Try a database server once: MLflow would try for minutes before it says anything."""
        if urlsplit(self.uri).scheme.partition("+")[0] not in SERVERS:
            return
        from mlflow.store.db.utils import create_sqlalchemy_engine

        create_sqlalchemy_engine(self.uri).connect().close()

    def _make_database(self, client: Any) -> None:
        """A SQLite store appears whole, by a rename: MLflow takes a second to build its tables,
        and cannot open a database whose builder was killed."""
        path = Path(self.uri.removeprefix("sqlite:///"))
        if not self.uri.startswith("sqlite:///") or "?" in self.uri or path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(self._locks / "create.lock")):
            if path.exists():
                return
            scrap = path.with_name(f".{path.name}-scrap")
            for left in (scrap, scrap.with_name(f"{scrap.name}-journal")):
                left.unlink(missing_ok=True)
            client(tracking_uri=f"sqlite:///{scrap}").search_experiments()
            scrap.rename(path)

    def _folder(self, protocol: str) -> Path | None:
        """Where the artifacts of a protocol's runs lie, if that is a folder on this disk."""
        if protocol not in self._folders:
            with _reaching(self.uri):
                found = self._client.get_experiment_by_name(protocol)
            place = urlsplit(found.artifact_location if found else "")
            self._folders[protocol] = Path(unquote(place.path)) if place.scheme == "file" else None
        return self._folders[protocol]

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        local = self.uri.startswith("sqlite:")
        place = (self.folder / "artifacts" / name).as_uri() if local else None
        return str(self._client.create_experiment(name, artifact_location=place))

    def _deliver(self, entry: spool.Entry) -> None:
        """Write one entry to MLflow. Safe to repeat: a half-written run is replaced."""
        result = entry.result
        with _reaching(self.uri):
            experiment = self._experiment(result["spec"]["protocol"])
            query = f"tags.`{ENTRY}` = '{entry.id}'"
            for run in self._client.search_runs([experiment], query):
                if run.info.status == STATUS[result["status"]]:
                    return
                self._client.delete_run(run.info.run_id)
            run_id = self._create(experiment, entry)
            self._log(run_id, result)
            for path in entry.artifacts():
                self._client.log_artifact(run_id, str(path))
            end = int(result["ended"] * 1000)
            self._client.set_terminated(run_id, STATUS[result["status"]], end_time=end)

    def _create(self, experiment: str, entry: spool.Entry) -> str:
        started = int(entry.result["started"] * 1000)
        tags = tags_of(entry.result, entry.id)
        created = self._client.create_run(experiment, start_time=started, tags=tags)
        return str(created.info.run_id)

    def _log(self, run_id: str, result: dict[str, Any]) -> None:
        from mlflow.entities import Metric, Param

        now = int(result["ended"] * 1000)
        params = [Param(k, v) for k, v in params_of(result).items()]
        metrics = [Metric(name, value, now, step) for name, value, step in numbers_of(result)]
        self._client.log_batch(run_id, metrics=metrics[:BATCH], params=params)
        for start in range(BATCH, len(metrics), BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + BATCH])


def open_ledger(uri: str | None = None) -> Ledger:
    """The ledger of this place, after delivering what waits. Raises UsageError when it is down."""
    ledger = Ledger(uri)
    try:
        ledger.deliver_all()
        ledger.reach()
    except Unreachable as error:
        waits = len(list(spool.waiting(ledger.spool)))
        kept = f"; {waits} results wait safely in {ledger.spool}" if waits else ""
        advice = f"start it, or unset {TRACKING} to use SQLite"
        if ledger.uri.startswith("sqlite:"):
            advice = "if the file is damaged, restore it or move it away: a new one is made"
        raise UsageError(
            f"the tracking store {ledger.uri} does not answer ({error}){kept}; {advice}"
        ) from None
    return ledger


class _reaching:
    """Turns whatever MLflow raises for a store that is down into Unreachable."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, Unreachable):
            return
        module = type(error).__module__
        here = isinstance(error, OSError | ModuleNotFoundError)  # a full disk, a missing driver
        if here or module.startswith(("mlflow", "requests", "urllib3", "sqlalchemy", "sqlite3")):
            text = " ".join(str(error).split())
            raise Unreachable(text[:200] or type(error).__name__) from error


def _run(
    run_id: str,
    params: dict[str, str],
    metrics: dict[str, float],
    tags: dict[str, str],
    started: int,
) -> Run:
    """``started`` in milliseconds."""
    return Run(
        id=run_id,
        status=tags.get("status", "running"),
        params=dict(params),
        metrics={k: v for k, v in metrics.items() if not k.startswith(MIDWAY)},
        tags=dict(tags),
        started=started / 1000,
    )
