"""The Optuna study of a sweep: one plain study, shared by any number of workers.

On one machine it lies in SQLite, where a kill leaves a whole transaction or none, and
optuna-dashboard can read it. SQLite is not made for many writers, so each access takes one file
lock; a trial takes seconds, an access milliseconds. Several machines share a database server by its
URL. No lock spans them, so a sweep may run one trial a machine more than its budget.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import optuna
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from methods.kit.core.errors import UsageError
from sweeps.study.budget import TRIALS, Budget
from sweeps.study.optuna_storage import default_storage, is_file, lock_folder, open_storage
from sweeps.study.strategy import make_pruner, make_sampler
from sweeps.study.sweep_plan import SweepPlan
from sweeps.study.trial_claims import SAMPLED, FileClaims, HeartbeatClaims, quiet, requeue

DIGEST, PLAN = "ringbench.digest", "ringbench.plan"
FREE_ENDS = ("capped", "refused")  # trials that end without training do not use up the budget
FREE_PER_TRIAL = 10  # so many of them for each trial of the budget, before a sweep gives up
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True, eq=False)
class RunningTrial:
    """A trial that this process has taken."""

    trial: optuna.Trial
    values: dict[str, Any]  # by spec key

    @property
    def number(self) -> int:
        return int(self.trial.number)


class Study:
    """The study of a plan, opened or created. Raises UsageError when its name is taken."""

    def __init__(self, plan: SweepPlan, storage: str | None = None) -> None:
        self.plan = plan
        self.url = storage or default_storage()
        folder = lock_folder(self.url)
        self._lock = FileLock(str(folder / f"sweep-{plan.name}.lock"))
        self._queue = plan.queue()
        self._storage = open_storage(self.url)
        local = is_file(self.url)
        self._claims = FileClaims(folder, plan.name) if local else HeartbeatClaims(self._storage)
        try:
            with self.locked():
                self.study = optuna.create_study(
                    study_name=plan.name,
                    storage=self._storage,
                    directions=plan.directions,
                    pruner=make_pruner(plan),
                    load_if_exists=True,
                )
                self._identify()
        except UsageError:
            self.close()
            raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let in one process at a time; turn any database error into one line (UsageError)."""
        try:
            with self._lock, quiet():
                yield
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            text = " ".join(str(error).split())[:200]
            raise UsageError(f"the storage of sweep {self.plan.name} failed: {text}") from None

    def close(self) -> None:
        """Queue the trials that this process still holds, and close the connections."""
        with suppress(UsageError):
            self.give_back()
        self._storage.remove_session()
        self._storage.engine.dispose()

    # --- trials ------------------------------------------------------------------------------

    def take(self, budget: Budget) -> RunningTrial | None:
        """Return the next trial, or None when the budget is spent or in the hands of others."""
        with self.locked():
            self._claims.requeue_dead(self.study)
            trials = self.study.get_trials(deepcopy=False)
            if not self._has_open_trial(trials, budget):
                return None
            self.study.sampler = make_sampler(self.plan, len(_counted(trials)))
            trial = self._next(trials)
            self._claims.claim(trial)
            values = self.plan.searched_values(lambda n, dim: dim.decode(dim.suggest(trial, n)))
            trial.set_user_attr(SAMPLED, True)
            return RunningTrial(trial, values)

    def is_reached(self, budget: Budget) -> bool:
        """Return whether trials that ended have spent the budget."""
        with self.locked():
            trials = self.study.get_trials(deepcopy=False)
        counted = _counted(trials)
        if self.plan.options.sampler == "grid" and len(counted) >= len(self._queue):
            return all(t.state.is_finished() for t in trials)
        return budget.is_spent(
            sum(t.state in ENDED and not is_free(t) for t in counted), _seconds(counted)
        )

    def has_open_trial(self, budget: Budget) -> bool:
        """Return whether a trial can be taken, after those of dead workers are queued again."""
        with self.locked():
            self._claims.requeue_dead(self.study)
            return self._has_open_trial(self.study.get_trials(deepcopy=False), budget)

    def waits_for_others(self) -> bool:
        """Return whether other processes run trials, or one of theirs was queued again just now."""
        with self.locked():
            dead = self._claims.requeue_dead(self.study)
            running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return dead > 0 or bool(running)

    def note(self, trial: RunningTrial, **facts: Any) -> None:
        """Store facts about a running trial."""
        with self.locked():
            for key, value in facts.items():
                trial.trial.set_user_attr(key, value)

    def constrain(self, trial: RunningTrial, name: str, excess: float) -> None:
        """Tell the sampler how far a trial is above a cap (0 or less: within)."""
        with self.locked():
            trial.trial.set_constraint(name, excess)

    def report(self, trial: RunningTrial, step: int, value: float) -> bool:
        """Store a trial's value at a step; return whether it should be pruned there."""
        with self.locked():
            trial.trial.report(value, step)
            return bool(trial.trial.should_prune())

    def end(
        self, trial: RunningTrial, state: TrialState, values: list[float] | None = None
    ) -> None:
        with self.locked():
            self.study.tell(trial.trial, values, state)
            self._claims.release(trial.number)

    def give_back(self) -> None:
        """Close the trials that this process still holds and queue them again as they were."""
        for number in self._claims.held:
            with self.locked():
                trial = self.study.get_trials(deepcopy=True)[number]
                if trial.state == TrialState.RUNNING:
                    self.study.tell(number, state=TrialState.FAIL)
                    requeue(self.study, trial)
                self._claims.release(number)

    def requeue_dead(self) -> int:
        """Queue the trials of dead workers again; return how many there were."""
        with self.locked():
            return self._claims.requeue_dead(self.study)

    # --- reading -----------------------------------------------------------------------------

    def trials(self) -> list[FrozenTrial]:
        """Return every trial that counts: not those that were interrupted and queued again."""
        with self.locked():
            return _counted(self.study.get_trials(deepcopy=False))

    def ended(self) -> list[FrozenTrial]:
        return [t for t in self.trials() if t.state in ENDED]

    def importances(self) -> dict[str, float]:
        """Return each key's importance for the first objective (PED-ANOVA).

        It is empty for fewer than four trials.
        """
        with self.locked():
            done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if len(done) < 4 or len(self.plan.space.dims) < 2:
                return {}
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            sign = -1.0 if self.plan.directions[0] == "maximize" else 1.0
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that low targets are the good ones: they are
                importances = optuna.importance.get_param_importances(
                    self.study, evaluator=evaluator, target=lambda t: sign * t.values[0]
                )
        return {key: float(value) for key, value in importances.items()}

    # --- inside ------------------------------------------------------------------------------

    def _has_open_trial(self, trials: list[FrozenTrial], budget: Budget) -> bool:
        counted = _counted(trials)
        paid = sum(not is_free(t) for t in counted)
        if budget.is_spent(paid, _seconds(counted)):
            return False
        if len(counted) - paid >= FREE_PER_TRIAL * (budget.trials or TRIALS):
            return False
        if budget.seconds is not None:
            return True
        if self.plan.options.sampler != "grid" or len(counted) < len(self._queue):
            return True
        return any(t.state == TrialState.WAITING for t in trials)

    def _next(self, trials: list[FrozenTrial]) -> optuna.Trial:
        """Return an interrupted trial first, so that the history is as it would have been.

        Each trial of the plan's queue is enqueued in its turn: an interrupted one keeps its place.
        """
        for t in trials:
            retried = t.state == TrialState.WAITING and "retry_history" in t.system_attrs
            if retried and self._storage.set_trial_state_values(t._trial_id, TrialState.RUNNING):
                return optuna.Trial(self.study, t._trial_id)
        ordinal = len(_counted(trials))
        if ordinal < len(self._queue):
            origin, values = self._queue[ordinal]
            self.study.enqueue_trial(
                self.plan.encode(values), user_attrs={"origin": origin}, skip_if_exists=True
            )
        return self.study.ask()

    def _identify(self) -> None:
        """Mark a new study with the plan's digest; raise UsageError for another sweep's."""
        facts, digest = self.study.user_attrs, self.plan.digest()
        if facts.get(DIGEST, digest) != digest or (DIGEST not in facts and self.study.trials):
            there = json.loads(facts.get(PLAN, "{}")).get("space", "of unknown origin")
            raise UsageError(
                f"--name {self.plan.name}: holds another sweep (space {there}, other settings or"
                " aims); take another name"
            )
        if DIGEST not in facts:
            self.study.set_metric_names(list(self.plan.objectives))
            self.study.set_user_attr(PLAN, json.dumps(self.plan.as_dict()))
            self.study.set_user_attr(DIGEST, digest)


def is_free(trial: FrozenTrial) -> bool:
    """Return whether a trial ended without training, so that it does not use up the budget."""
    return trial.user_attrs.get("end") in FREE_ENDS


def _seconds(trials: list[FrozenTrial]) -> float:
    """Return the seconds that ended trials took; co-trained trials share theirs."""
    durations = ((t.duration, t.user_attrs.get("side_by_side", 1)) for t in trials)
    return sum(d.total_seconds() / together for d, together in durations if d is not None)


def _counted(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials without those that wait, or were interrupted and queued again."""
    retried = {n for t in trials for n in t.system_attrs.get("retry_history", [])}
    return [t for t in trials if t.number not in retried and t.state != TrialState.WAITING]
