"""Who is alive: a trial in flight is held by its worker, and what nobody holds is dead.

On one machine a worker holds a file lock, which the kernel releases when the process dies, however
it dies: a dead trial is seen at once and a slow one is never taken for dead. Across machines, over
a database server, it is Optuna's heartbeat, with its time of grace.
"""

import copy
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

SAMPLED = "ringbench.sampled"  # on a trial whose settings are all drawn
BEAT, GRACE = 30, 120  # seconds, of the heartbeat
TRIES = 3  # a trial whose worker died is run again so often


class Leases(Protocol):
    """Trials held by living workers."""

    def hold(self, trial: optuna.Trial) -> None: ...

    def release(self, number: int) -> None: ...

    def reap(self, study: optuna.Study) -> int:
        """Close the trials of dead workers and queue them again; returns how many."""
        ...


class FileLeases:
    """Leases among the processes of one machine. Callers hold the study's lock."""

    def __init__(self, folder: Path, study: str) -> None:
        self.folder, self.study = folder, study
        self._held: dict[int, FileLock] = {}

    def hold(self, trial: optuna.Trial) -> None:
        lock = self._lock(trial.number)
        lock.acquire(timeout=0)
        self._held[trial.number] = lock

    def release(self, number: int) -> None:
        lock = self._held.pop(number, None)
        if lock is not None:
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)

    def reap(self, study: optuna.Study) -> int:
        running = (optuna.trial.TrialState.RUNNING,)
        dead = 0
        for trial in study.get_trials(deepcopy=True, states=running):
            if trial.number in self._held:
                continue
            lock = self._lock(trial.number)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            again(study, trial, TRIES)
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)
            dead += 1
        return dead

    def _lock(self, number: int) -> FileLock:
        return FileLock(str(self.folder / f"sweep-{self.study}-{number}.lock"))


class Heartbeats:
    """Leases across machines: each worker's trial beats in the database."""

    def __init__(self, storage: optuna.storages.RDBStorage) -> None:
        self.storage = storage
        self._held: dict[int, threading.Event] = {}
        self._unborn: dict[int, float] = {}  # trials without settings: first seen, monotonic

    def hold(self, trial: optuna.Trial) -> None:
        done = self._held[trial.number] = threading.Event()
        self.storage.record_heartbeat(trial._trial_id)
        beat = threading.Thread(target=self._beat, args=(trial._trial_id, done), daemon=True)
        beat.start()

    def release(self, number: int) -> None:
        self._held.pop(number, threading.Event()).set()

    def reap(self, study: optuna.Study) -> int:
        before = _running(study)
        with quietly():
            optuna.storages.fail_stale_trials(study)
        self._reap_unborn(study)
        return len(before) - len(_running(study))

    def _reap_unborn(self, study: optuna.Study) -> None:
        """A worker that died before its first beat is missed by the database."""
        now = time.monotonic()
        unborn = [t for t in _running(study) if SAMPLED not in t.user_attrs]
        self._unborn = {t.number: self._unborn.get(t.number, now) for t in unborn}
        for trial in unborn:
            if trial.number in self._held or now - self._unborn[trial.number] < GRACE:
                continue
            with suppress(optuna.exceptions.UpdateFinishedTrialError):  # another was faster
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                again(study, trial, TRIES)

    def _beat(self, trial_id: int, done: threading.Event) -> None:
        while not done.wait(BEAT):
            # a server that is away for a moment must not stop the heart for good
            with suppress(SQLAlchemyError, optuna.exceptions.StorageInternalError):
                self.storage.record_heartbeat(trial_id)


def _running(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=True, states=(optuna.trial.TrialState.RUNNING,))


def again(study: optuna.Study, trial: FrozenTrial, tries: int | None = None) -> None:
    """Queue a trial that was cut short, with the settings it had.

    One that was cut short while its settings were drawn has none: drawn again from the start they
    are those it would have had, continued they would be others.
    """
    if SAMPLED not in trial.user_attrs:
        trial = copy.copy(trial)
        trial.params, trial.distributions = {}, {}
    with quietly():
        optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=tries)(study, trial)


@contextmanager
def quietly() -> Iterator[None]:
    """Without Optuna's warnings that something is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
