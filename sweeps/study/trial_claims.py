"""Claims on running trials: a trial that no living worker claims is queued again.

On one machine a claim is a file lock, which the kernel releases when the process dies: a dead trial
is noticed at once, and a slow one is never mistaken for dead. Across machines, over a database
server, it is Optuna's heartbeat with a grace period.
"""

import copy
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

SAMPLED = "ringbench.sampled"  # on a trial whose settings are all drawn
BEAT, GRACE = 30, 120  # seconds, of the heartbeat
RETRIES = 3  # of a trial whose worker died


class TrialClaims:
    """The claims of this process. Callers hold the study's lock."""

    def __init__(self) -> None:
        self._releases: dict[int, Callable[[], None]] = {}  # by the number of a trial

    @property
    def held(self) -> list[int]:
        return list(self._releases)

    def claim(self, trial: optuna.Trial) -> None:
        raise NotImplementedError

    def release(self, number: int) -> None:
        self._releases.pop(number, lambda: None)()

    def requeue_dead(self, study: optuna.Study) -> int:
        """Close the trials of dead workers and queue them again; return how many there were."""
        running = study.get_trials(deepcopy=True, states=(TrialState.RUNNING,))
        dead = [t for t in running if t.number not in self._releases and self._is_dead(t)]
        for trial in dead:
            with suppress(optuna.exceptions.UpdateFinishedTrialError):  # another was faster
                study.tell(trial.number, state=TrialState.FAIL)
                requeue(study, trial, RETRIES)
        return len(dead)

    def _is_dead(self, trial: FrozenTrial) -> bool:
        raise NotImplementedError


class FileClaims(TrialClaims):
    """Claims among the processes of one machine."""

    def __init__(self, folder: Path, study: str) -> None:
        super().__init__()
        self._folder, self._study = folder, study

    def claim(self, trial: optuna.Trial) -> None:
        lock = self._lock(trial.number)
        lock.acquire(timeout=0)
        self._releases[trial.number] = lambda: _remove(lock)

    def _is_dead(self, trial: FrozenTrial) -> bool:
        lock = self._lock(trial.number)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        _remove(lock)
        return True

    def _lock(self, number: int) -> FileLock:
        return FileLock(str(self._folder / f"sweep-{self._study}-{number}.lock"))


class HeartbeatClaims(TrialClaims):
    """Claims across machines: a thread for each trial records its heartbeat in the database."""

    def __init__(self, storage: optuna.storages.RDBStorage) -> None:
        super().__init__()
        self._storage = storage
        self._first_seen: dict[int, float] = {}  # trials without settings, monotonic seconds

    def claim(self, trial: optuna.Trial) -> None:
        done = threading.Event()
        self._storage.record_heartbeat(trial._trial_id)
        threading.Thread(target=self._beat, args=(trial._trial_id, done), daemon=True).start()
        self._releases[trial.number] = done.set

    def requeue_dead(self, study: optuna.Study) -> int:
        running = (TrialState.RUNNING,)
        before = len(study.get_trials(deepcopy=False, states=running))
        with quiet():
            optuna.storages.fail_stale_trials(study)
        stale = before - len(study.get_trials(deepcopy=False, states=running))
        return stale + super().requeue_dead(study)

    def _is_dead(self, trial: FrozenTrial) -> bool:
        """Find the trial of a worker that died before its first heartbeat, which Optuna misses."""
        if SAMPLED in trial.user_attrs:
            return False
        now = time.monotonic()
        return now - self._first_seen.setdefault(trial.number, now) >= GRACE

    def _beat(self, trial_id: int, done: threading.Event) -> None:
        while not done.wait(BEAT):
            # the thread outlives a server that is away for a moment
            with suppress(SQLAlchemyError, optuna.exceptions.StorageInternalError):
                self._storage.record_heartbeat(trial_id)


def requeue(study: optuna.Study, trial: FrozenTrial, retries: int | None = None) -> None:
    """Queue an interrupted trial again with its settings.

    A trial that was interrupted while its settings were drawn is drawn again from the start, which
    gives the settings it would have had.
    """
    if SAMPLED not in trial.user_attrs:
        trial = copy.copy(trial)
        trial.params, trial.distributions = {}, {}
    with quiet():
        optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=retries)(study, trial)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide Optuna's warnings: experimental names, heartbeats outside of optimize."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Heartbeat of storage")
        yield


def _remove(lock: FileLock) -> None:
    lock.release()
    Path(lock.lock_file).unlink(missing_ok=True)
