"""Trials from their settings to their ends, several of them in step so that they can be co-trained.

A trial runs its method with its settings on every data set and seed of the sweep and takes the
mean. Its runs see training and validation images; the test split stays closed.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

from harness.run import grouping
from harness.run.execute import check_spec, pick_device
from harness.run.pruning import PruningRule
from harness.spec import quantities
from harness.spec.spec import Spec
from harness.tracking import driver
from harness.tracking.driver import RunOutcome, RunProgress
from harness.tracking.ledger import Ledger
from methods.kit.core.errors import UsageError
from sweeps.space.objectives import KNOWN_BEFORE, direction
from sweeps.study.front_pruning import FrontPruning
from sweeps.study.intermediate_values import RunCheckpoints
from sweeps.study.optuna_study import RunningTrial, Study
from sweeps.study.sweep_plan import SweepPlan
from sweeps.suite.options import DriveOptions

End = Literal["complete", "refused", "capped", "bounded", "pruned", "failed"]

POLL = 0.5  # seconds between checks of a run in another process
STATES = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}  # else pruned


@dataclass(frozen=True)
class TrialOutcome:
    """How a trial ended, and why if it is not complete."""

    number: int
    end: End
    why: str
    settings: str
    values: tuple[float, ...] = ()

    def sentence(self, objectives: Sequence[str]) -> str:
        head = f"trial {self.number}: {self.settings}: "
        if self.end != "complete":
            return f"{head}{self.end}: {self.why}"
        shown = (
            quantities.count_text(v) if direction(n) == "minimize" else f"{v:.2f}"
            for n, v in zip(objectives, self.values, strict=True)
        )
        return head + ", ".join(f"{n} {v}" for n, v in zip(objectives, shown, strict=True))


def outcome_of(plan: SweepPlan, trial: FrozenTrial) -> TrialOutcome:
    """Return how a trial of the study ended, from its record."""
    facts = trial.user_attrs
    return TrialOutcome(
        trial.number,
        facts.get("end", "failed"),
        facts.get("why", "its worker died each time it was run"),
        " ".join(facts.get("overrides", [])[1 + len(plan.words) :]),
        tuple(trial.values or ()) if trial.state == TrialState.COMPLETE else (),
    )


@dataclass(frozen=True)
class TrialContext:
    """What trials are run with."""

    study: Study
    ledger: Ledger
    options: DriveOptions
    parent: str  # the MLflow run of the sweep
    progress: RunProgress

    @property
    def plan(self) -> SweepPlan:
        return self.study.plan


class TrialEnd(Exception):
    """Raised when a trial ends."""

    def __init__(self, end: End, why: str = "") -> None:
        super().__init__(why)
        self.end: End = end
        self.why = why


def run_trials(context: TrialContext, trials: Sequence[RunningTrial]) -> Iterator[TrialOutcome]:
    """Run trials to their ends, co-training those of their runs that the options allow.

    Raises KeyboardInterrupt; the study then still holds the trials that have not ended.
    """
    for trial in trials:
        context.study.note(trial, side_by_side=len(trials))
    active = [ActiveTrial(context, trial) for trial in trials]
    steps: list[Callable[[], None]] = [trial.begin for trial in active]
    while active:
        outcomes = [trial.advance(step) for trial, step in zip(active, steps, strict=True)]
        yield from (outcome for outcome in outcomes if outcome is not None)
        active = [t for t, outcome in zip(active, outcomes, strict=True) if outcome is None]
        runs = measure_runs(context, [(t.spec, t.checkpoints.pruning_rule) for t in active])
        steps = [partial(trial.add_run, run) for trial, run in zip(active, runs, strict=True)]


class ActiveTrial:
    """A trial that has not ended: its finished runs and the next one."""

    spec: Spec  # of the next run
    checkpoints: RunCheckpoints  # inside the next run

    def __init__(self, context: TrialContext, trial: RunningTrial) -> None:
        self._context, self._study, self._plan = context, context.study, context.plan
        self._trial = trial
        self._runs: list[RunOutcome] = []
        self._front: FrontPruning | None = None

    def advance(self, step: Callable[[], None]) -> TrialOutcome | None:
        """Take a step that raises TrialEnd where the trial ends; record and return that end."""
        try:
            step()
            return None
        except TrialEnd as end:
            values: list[float] | None = None
            if end.end == "complete":
                means = _means(self._runs)
                values = [means[name] for name in self._plan.objectives]
                self._study.note(self._trial, end=end.end, metrics=means)
            else:
                self._study.note(self._trial, end=end.end, why=end.why)
            self._study.end(self._trial, STATES.get(end.end, TrialState.PRUNED), values)
            settings = " ".join(self._plan.sampled_words(self._trial.values))
            number = self._trial.number
            return TrialOutcome(number, end.end, end.why, settings, tuple(values or ()))

    def begin(self) -> None:
        """Check what is known before training. Raises TrialEnd."""
        study, plan, trial = self._study, self._plan, self._trial
        overrides, command = plan.overrides(trial.values), plan.command(trial.values)
        study.note(trial, overrides=overrides, command=command)
        try:
            self._specs = plan.specs(trial.values)
            found = [check_spec(spec) for spec in self._specs]
        except UsageError as error:
            raise TrialEnd("refused", str(error)) from None
        names = [(name, name.removeprefix("params/")) for name in KNOWN_BEFORE]
        self._counts = {name: fmean(getattr(c, field) for c in found) for name, field in names}
        study.note(trial, counts=self._counts)
        self._check_caps()
        if plan.front_axes:
            self._front = FrontPruning(study, plan.front_axes)
            if why := self._front.before_training(trial, self._counts):
                raise TrialEnd("bounded", why)
        self._next_run()

    def add_run(self, run: RunOutcome) -> None:
        """Take in the outcome of the next run. Raises TrialEnd."""
        if run.status == "pruned":
            raise TrialEnd("pruned", self.checkpoints.why_pruned)
        if not run.ok:
            raise TrialEnd("failed", f"{driver.run_title(run.spec)}: {run.error}")
        self.checkpoints.report_recorded(self._context.ledger, run)
        self._runs.append(run)
        self._study.note(self._trial, runs=list(map(_run_record, self._runs)))
        if len(self._runs) == len(self._specs):
            raise TrialEnd("complete")
        self._prune_between_runs()
        self._next_run()

    def _next_run(self) -> None:
        self.spec = self._specs[len(self._runs)]
        self.checkpoints = RunCheckpoints(self._study, self._trial, self.spec, self._runs)

    def _check_caps(self) -> None:
        above = []
        for cap in self._plan.caps:
            count = self._counts[cap.name]
            self._study.constrain(self._trial, cap.name, (count - cap.limit) / max(cap.limit, 1))
            if count > cap.limit:
                above.append(f"{cap.name} {count:,.0f} is above {cap.limit:,.0f}")
        if above:
            raise TrialEnd("capped", "; ".join(above))

    def _prune_between_runs(self) -> None:
        plan, done = self._plan, len(self._runs)
        if self._front:
            metrics = [run.metrics for run in self._runs]
            if why := self._front.between_runs(metrics, self._counts):
                raise TrialEnd("bounded", why)
        if len(plan.objectives) == 1:
            (objective,) = plan.objectives
            value = _means(self._runs)[objective]
            if self._study.report(self._trial, plan.step(done), value):
                reached = f"{objective} {value:.2f} after {done} of {len(plan.cells)} runs"
                raise TrialEnd("pruned", reached)


def measure_runs(
    context: TrialContext, requests: Sequence[tuple[Spec, PruningRule | None]]
) -> list[RunOutcome]:
    """Return runs on validation data: found in the ledger, or made now and recorded there."""
    ledger, options = context.ledger, context.options
    pending = {spec.digest(): (spec, rule) for spec, rule in requests}
    done: dict[str, RunOutcome] = {}
    while pending:
        with ExitStack() as claims:
            new: list[Spec] = []
            for digest, (spec, _) in pending.items():
                if claims.enter_context(ledger.claim(digest)):
                    run = ledger.find(digest, test=False)
                    if run is None:
                        new.append(spec)
                    else:
                        done[digest] = driver.from_ledger(spec, run)
            for group in grouping.groups(new, options.cotrain, 1, pick_device(options.device)):
                rules = [pending[spec.digest()][1] for spec in group]
                for outcome in driver.run_and_record(
                    group, options.device, ledger, context.progress, context.parent, False, rules
                ):
                    done[outcome.spec.digest()] = outcome
        pending = {digest: request for digest, request in pending.items() if digest not in done}
        if pending:
            time.sleep(POLL)  # another worker makes the very same run
    return [done[spec.digest()] for spec, _ in requests]


def _run_record(run: RunOutcome) -> dict[str, str | int | float]:
    """Return a run as the study stores it."""
    accuracies = {k: v for k, v in run.metrics.items() if k in quantities.VALIDATION}
    spec = run.spec
    return {"digest": spec.digest(), "data": spec.data.name, "seed": spec.seed, **accuracies}


def _means(runs: Sequence[RunOutcome]) -> dict[str, float]:
    """Return the mean of each metric; H of a trial is the mean of its runs' H."""
    shared = set.intersection(*(set(run.metrics) for run in runs))
    kept = sorted(
        k for k in shared if not k.startswith(("acc/", "ece/")) or k in quantities.VALIDATION
    )
    return {name: fmean(run.metrics[name] for run in runs) for name in kept}
