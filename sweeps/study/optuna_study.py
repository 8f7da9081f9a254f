"""The Optuna study of a sweep: one plain study, shared by any number of workers.

On one machine it lies in SQLite, where a kill leaves a whole transaction or none and
optuna-dashboard reads it as it is. SQLite is not made for many writers, so every access is made
under one file lock; trials take seconds, accesses milliseconds. Across machines: a database server
by its URL; no lock spans them, so a goal may be passed by one trial a machine.
"""

import hashlib
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from methods.kit.core.errors import UsageError
from sweeps.space.definition import Choice, Dim
from sweeps.study import heartbeat
from sweeps.study.heartbeat import FileLeases, Heartbeats, Leases
from sweeps.study.optuna_storage import default_storage, is_file, lock_folder, open_storage, quiet
from sweeps.study.pruner import SameStep
from sweeps.study.sweep_plan import SweepPlan

DIGEST, PLAN = "ringbench.digest", "ringbench.plan"
FREE_ENDS = ("capped", "refused")  # known before training and whatever else was tried
FREE = 10  # as many of them for each trial of the goal, before a sweep gives up
TRIALS = 40  # the usual goal
POPULATION = 16  # of NSGA-II; sweeps are short
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True, eq=False)
class Taken:
    """A trial in flight."""

    trial: optuna.Trial
    values: dict[str, Any]  # by spec key

    @property
    def number(self) -> int:
        return int(self.trial.number)


@dataclass(frozen=True)
class Goal:
    """When a sweep is over: after so many trials, or so many seconds of trials.

    Trials above a cap or with settings that cannot be cost nothing and are not counted.
    """

    trials: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.trials} trials" if self.trials else f"{(self.seconds or 0) / 60:g} minutes"


class Study:
    """The study of a plan, opened or begun. Raises UsageError when its name is taken."""

    def __init__(self, plan: SweepPlan, storage: str | None = None) -> None:
        self.plan = plan
        self.url = storage or default_storage()
        folder = lock_folder(self.url)
        self._lock = FileLock(str(folder / f"sweep-{plan.name}.lock"))
        self._queue = queue(plan)
        self._storage = open_storage(self.url)
        self._leases: Leases = (
            FileLeases(folder, plan.name) if is_file(self.url) else Heartbeats(self._storage)
        )
        try:
            with self.locked():
                self.study = optuna.create_study(
                    study_name=plan.name,
                    storage=self._storage,
                    directions=plan.directions,
                    pruner=_pruner(plan),
                    load_if_exists=True,
                )
                self._begin()
        except UsageError:
            self.close()
            raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time; anything the database says becomes one line."""
        try:
            with self._lock, quiet():
                yield
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            text = " ".join(str(error).split())[:200]
            raise UsageError(f"the storage of sweep {self.plan.name} failed: {text}") from None

    def close(self) -> None:
        """Give the connections back to the server."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    # --- trials ------------------------------------------------------------------------------

    def take(self, goal: Goal) -> Taken | None:
        """The next trial, or None when the goal is reached or in the hands of living workers."""
        with self.locked():
            self._leases.reap(self.study)
            trials = self.study.get_trials(deepcopy=False)
            if not self._open(trials, goal):
                return None
            self.study.sampler = _sampler(self.plan, len(_counted(trials)))
            trial = self._next(trials)
            self._leases.hold(trial)
            values = self.plan.walk(lambda name, dim: _decoded(dim, suggest(trial, name, dim)))
            trial.set_user_attr(heartbeat.SAMPLED, True)
            return Taken(trial, values)

    def reached(self, goal: Goal) -> bool:
        """Whether the goal is reached, by trials that ended."""
        with self.locked():
            trials = self.study.get_trials(deepcopy=False)
        ended = [t for t in _counted(trials) if t.state in ENDED and not free(t)]
        grid = self.plan.options.sampler == "grid"
        if grid and len(_counted(trials)) >= len(self._queue):
            return all(t.state.is_finished() for t in trials)
        if goal.trials is not None:
            return len(ended) >= goal.trials
        return spent(ended) >= (goal.seconds or 0)

    def open(self, goal: Goal) -> bool:
        """Whether there is a trial to be taken."""
        with self.locked():
            return self._open(self.study.get_trials(deepcopy=False), goal)

    def busy(self) -> bool:
        """Whether trials are in other hands: of another command, or of a worker whose death is
        not certain yet, or was found out just now, so that its trial can be taken again."""
        with self.locked():
            dead = self._leases.reap(self.study)
            trials = self.study.get_trials(deepcopy=False)
        return dead > 0 or any(t.state == TrialState.RUNNING for t in trials)

    def note(self, taken: Taken, **facts: Any) -> None:
        """Keep facts about a trial in flight."""
        with self.locked():
            for key, value in facts.items():
                taken.trial.set_user_attr(key, value)

    def constrain(self, taken: Taken, name: str, excess: float) -> None:
        """Tell the sampler how far a trial is above a cap (0 or less: within)."""
        with self.locked():
            taken.trial.set_constraint(name, excess)

    def report(self, taken: Taken, step: int, value: float) -> bool:
        """Keep what a trial has reached after a step; returns whether it should end there."""
        with self.locked():
            taken.trial.report(value, step)
            return bool(taken.trial.should_prune())

    def complete(self, taken: Taken, values: list[float]) -> None:
        self._end(taken, TrialState.COMPLETE, values)

    def prune(self, taken: Taken) -> None:
        self._end(taken, TrialState.PRUNED)

    def fail(self, taken: Taken) -> None:
        self._end(taken, TrialState.FAIL)

    def give_back(self, taken: Taken) -> None:
        """A trial that was stopped by the user: closed, and queued again as it was."""
        with self.locked():
            frozen = self.study.get_trials(deepcopy=True)[taken.number]
            if frozen.state == TrialState.RUNNING:
                self.study.tell(taken.trial, state=TrialState.FAIL)
                heartbeat.again(self.study, frozen)
            self._leases.release(taken.number)

    # --- reading -----------------------------------------------------------------------------

    def trials(self) -> list[FrozenTrial]:
        """Every trial that counts: not those that were cut short and run again."""
        with self.locked():
            return _counted(self.study.get_trials(deepcopy=False))

    def ended(self) -> list[FrozenTrial]:
        return [t for t in self.trials() if t.state in ENDED]

    def reconcile(self) -> int:
        """Close what dead workers left behind; returns how many trials are queued again."""
        with self.locked():
            return self._leases.reap(self.study)

    def importances(self) -> dict[str, float]:
        """How much each key matters to the first objective (PED-ANOVA); empty for few trials."""
        with self.locked():
            done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if len(done) < 4 or len(self.plan.space.dims) < 2:
                return {}
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            sign = -1.0 if self.plan.directions[0] == "maximize" else 1.0
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that low targets are the good ones: they are
                found = optuna.importance.get_param_importances(
                    self.study, evaluator=evaluator, target=lambda t: sign * t.values[0]
                )
        return {key: float(value) for key, value in found.items()}

    # --- inside ------------------------------------------------------------------------------

    def _open(self, trials: list[FrozenTrial], goal: Goal) -> bool:
        counted = _counted(trials)
        paid = [t for t in counted if not free(t)]
        if goal.trials is not None and len(paid) >= goal.trials:
            return False
        if len(counted) - len(paid) >= FREE * (goal.trials or TRIALS):
            return False
        if goal.seconds is not None:
            return spent([t for t in counted if t.state in ENDED]) < goal.seconds
        grid = self.plan.options.sampler == "grid"
        waiting = any(t.state == TrialState.WAITING for t in trials)
        return not grid or waiting or len(counted) < len(self._queue)

    def _next(self, trials: list[FrozenTrial]) -> optuna.Trial:
        """A trial that was cut short comes first, so that the history is as it would have been."""
        for t in trials:
            again = t.state == TrialState.WAITING and "retry_history" in t.system_attrs
            if again and self._storage.set_trial_state_values(t._trial_id, TrialState.RUNNING):
                return optuna.Trial(self.study, t._trial_id)
        ordinal = len(_counted(trials))
        if ordinal < len(self._queue):
            origin, values = self._queue[ordinal]
            facts = {"origin": origin}
            params = encoded(self.plan, values)
            self.study.enqueue_trial(params, user_attrs=facts, skip_if_exists=True)
        return self.study.ask()

    def _begin(self) -> None:
        """Refuse another sweep's study; sign one's own."""
        facts, digest = self.study.user_attrs, self.plan.digest()
        if facts.get(DIGEST, digest) != digest or (DIGEST not in facts and self.study.trials):
            there = json.loads(facts.get(PLAN, "{}")).get("space", "of unknown origin")
            raise UsageError(
                f"--name {self.plan.name}: holds another sweep (space {there}, other settings or"
                " aims); take another name"
            )
        if DIGEST in facts:
            return
        self.study.set_metric_names(list(self.plan.objectives))
        self.study.set_user_attr(PLAN, json.dumps(self.plan.as_dict()))
        self.study.set_user_attr(DIGEST, digest)

    def _end(self, taken: Taken, state: TrialState, values: list[float] | None = None) -> None:
        with self.locked():
            self.study.tell(taken.trial, values, state)
            self._leases.release(taken.number)


# --- between spec keys and Optuna ----------------------------------------------------------------


def suggest(trial: optuna.Trial, name: str, dim: Dim) -> Any:
    if isinstance(dim, Choice):
        return trial.suggest_categorical(name, dim.texts)
    if dim.whole:
        step = int(dim.step or 1)
        return trial.suggest_int(name, int(dim.low), int(dim.high), step=step, log=dim.log)
    return trial.suggest_float(name, dim.low, dim.high, step=dim.step, log=dim.log)


def encoded(plan: SweepPlan, values: dict[str, Any]) -> dict[str, Any]:
    """Values as Optuna keeps them, by the names of dimensions: choices as JSON text."""
    return {
        name: json.dumps(value) if isinstance(plan.space.dims[name], Choice) else value
        for name, value in plan.searched(values).items()
    }


def decoded(plan: SweepPlan, params: dict[str, Any]) -> dict[str, Any]:
    """Values by spec key, of a trial's parameters; numbers to four digits, to be read and typed."""
    return plan.walk(lambda name, dim: _decoded(dim, params[name]))


def _decoded(dim: Dim, value: Any) -> Any:
    if isinstance(dim, Choice):
        return json.loads(value)
    return value if dim.whole else dim.nearest(float(f"{value:.4g}"))


def free(trial: FrozenTrial) -> bool:
    """Whether a trial does not count: settings that cannot be, or are above a cap."""
    return trial.user_attrs.get("end") in FREE_ENDS


def spent(ended: list[FrozenTrial]) -> float:
    """Seconds that trials took; of trials side by side each its share."""
    return sum(
        t.duration.total_seconds() / t.user_attrs.get("side_by_side", 1)
        for t in ended
        if t.duration is not None
    )


def queue(plan: SweepPlan) -> list[tuple[str, dict[str, Any]]]:
    """What is tried first: the defaults, then a grid, in an order that spreads over it.

    Each is enqueued when its turn has come, so that a trial that was cut short keeps its place.
    """
    first = plan.defaults()
    points = plan.grid() if plan.options.sampler == "grid" else []
    seed = plan.options.sampler_seed
    points.sort(key=lambda point: hashlib.sha256(f"{seed}{point}".encode()).digest())
    named = [("default", values) for values in first]
    return named + [("grid", values) for values in points if values not in first]


def _counted(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Without trials that wait, and without those that were cut short and queued again."""
    retried = {n for t in trials for n in t.system_attrs.get("retry_history", [])}
    return [t for t in trials if t.number not in retried and t.state != TrialState.WAITING]


def _sampler(plan: SweepPlan, ordinal: int) -> optuna.samplers.BaseSampler:
    """The sampler of one trial, seeded by how many came before: a resumed sweep goes on as it
    would have, instead of beginning its random numbers again."""
    digest = hashlib.sha256(f"{plan.options.sampler_seed}:{ordinal}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big")
    name = plan.options.sampler
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    if name == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def prunes(plan: SweepPlan) -> bool:
    """Whether trials may end before their last run does."""
    steps = plan.step(len(plan.cells))
    return len(plan.objectives) == 1 and steps >= 2 and plan.options.pruner != "none"


def _pruner(plan: SweepPlan) -> optuna.pruners.BasePruner:
    steps = plan.step(len(plan.cells))
    if not prunes(plan):
        return optuna.pruners.NopPruner()
    if plan.options.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=1, max_resource=steps, reduction_factor=2
        )
    return SameStep(maximize=plan.directions[0] == "maximize")
