"""A sweep from its first trial to its last, in one process or several, whatever dies on the way."""

import importlib
import math
import multiprocessing
import multiprocessing.connection
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from harness.cli import console
from harness.model import run_options
from harness.model.run_options import RunOptions
from harness.run import grouping
from harness.run.execute import pick_device
from harness.tracking.ledger import Ledger, open_ledger
from methods.kit.core.errors import UsageError
from sweeps.study import files, trial
from sweeps.study.optuna_study import FREE_ENDS, Goal, Study, Taken, decoded, free, prunes
from sweeps.study.sweep_plan import SweepPlan
from sweeps.study.trial import Bench, Ended, ended_of
from sweeps.suite import workers

POLL = 1.0  # seconds between looks at the study
REPORTS = "reports.provenance.mlflow_upload"  # named as a string: sweeps draw nothing
DEATHS = 10  # of workers, each, before a sweep gives up


@dataclass(frozen=True)
class Where:
    """What changes no number: device, stores, processes, what is shown."""

    device: str = "auto"
    uri: str | None = None
    storage: str | None = None
    workers: int = 1
    quiet: bool = False
    cotrain: str = "auto"


@dataclass(frozen=True)
class Found:
    """A sweep as it stands."""

    plan: SweepPlan
    goal: Goal
    url: str
    folder: Path
    ends: dict[str, int]  # how many trials ended how
    best: tuple[FrozenTrial, ...]  # the best trial, or the front
    audited: tuple[int, ...]  # trials that the bound would have stopped, run nevertheless
    reached: bool  # the goal
    stopped: bool  # by the user

    @property
    def code(self) -> int:
        """0 done, 1 some failed, 3 incomplete."""
        if self.stopped or not self.reached:
            return 3
        return 1 if self.ends.get("failed") else 0

    def winner(self) -> dict[str, Any] | None:
        """The settings of the first of the best."""
        return decoded(self.plan, self.best[0].params) if self.best else None


class TrialBars(console.ProgressBars):
    """A line a trial; the runs inside of one move the inner bar only."""

    def end(self, line: str) -> None:
        self.close_run()

    def over(self, ended: Ended, names: Sequence[str]) -> None:
        """A trial is over; those that do not count are told at the end, in one number."""
        if ended.end not in FREE_ENDS:
            super().end(ended.sentence(names))


def run(plan: SweepPlan, goal: Goal, where: Where) -> Found:
    """Go on with a sweep until its goal. Ctrl-C ends it early and keeps everything."""
    ledger = open_ledger(where.uri)
    with closing(Study(plan, where.storage)) as study:
        return _run(plan, goal, where, ledger, study)


def _run(plan: SweepPlan, goal: Goal, where: Where, ledger: Ledger, study: Study) -> Found:
    study.reconcile()
    group = ledger.start_parent(plan.name, plan.protocol, "sweep", plan.note)
    seen = {t.number for t in study.ended()}
    before = len(seen)
    files.write(study)
    already = sum(not free(t) for t in study.ended())
    total = max(0, (goal.trials or 0) - already)
    if not where.quiet:
        console.say(f"{plan.name}: {goal}, {already} already recorded")
    bars = TrialBars(total, where.quiet)
    bench = Bench(study, ledger, where.device, group, bars)
    stopped = False
    with bars.shown():
        try:
            if where.workers == 1:
                _alone(bench, goal, where, bars)
            else:
                _pool(bench, goal, where, bars, seen)
        except KeyboardInterrupt:
            stopped = True
    study.reconcile()
    found = read(study, goal, stopped)
    ledger.end_parent(group, complete=found.reached)
    if found.reached and found.ends.get("complete") and len(study.ended()) > before:
        importlib.import_module(REPORTS).sweep(where.uri, group, plan.name)
    return found


def read(study: Study, goal: Goal, stopped: bool = False) -> Found:
    """How a sweep stands; writes its files."""
    ended = study.ended()
    return Found(
        plan=study.plan,
        goal=goal,
        url=study.url,
        folder=files.write(study),
        ends=dict(Counter(ended_of(study.plan, t).end for t in ended)),
        best=tuple(_best(study, ended)),
        audited=tuple(t.number for t in ended if t.user_attrs.get("bound", {}).get("audited")),
        reached=study.reached(goal),
        stopped=stopped,
    )


def _alone(bench: Bench, goal: Goal, where: Where, bars: TrialBars) -> None:
    size = _beside(bench.plan, goal, where)
    while True:
        taken = _take(bench.study, goal, size)
        for ended in trial.run_all(bench, taken, where.cotrain):
            bars.over(ended, bench.plan.objectives)
            files.write(bench.study)
        if not taken and not _waits(bench.study, goal):
            return


def _beside(plan: SweepPlan, goal: Goal, where: Where) -> int:
    """How many trials a worker takes at a time, so that all workers have some.

    Trials are pruned by what others have reached, so with a pruner ``auto`` takes one at a time:
    ending the worse half early spares more than their being side by side.
    """
    size = grouping.parse_size(where.cotrain)
    if size == 0 and prunes(plan):
        size = 1
    if size == 0:
        try:
            usual = plan.specs(plan.defaults()[0])[0]
            size = grouping.auto_size(usual, pick_device(where.device))
        except UsageError:  # settings that cannot be are a trial's own affair
            size = 1
    share = math.ceil((goal.trials or size) / where.workers)
    return min(size, share)


def _take(study: Study, goal: Goal, size: int) -> list[Taken]:
    taken: list[Taken] = []
    while len(taken) < size and (one := study.take(goal)) is not None:
        taken.append(one)
    return taken


def _waits(study: Study, goal: Goal) -> bool:
    """Whether the goal depends on trials in other hands; if so, some time has passed."""
    if study.reached(goal) or not study.busy():
        return False
    time.sleep(POLL)
    return True


# --- several processes -------------------------------------------------------------------------


def _pool(bench: Bench, goal: Goal, where: Where, bars: TrialBars, seen: set[int]) -> None:
    """Keep workers at it; one that dies is replaced, its trial has been queued again."""
    context = multiprocessing.get_context("spawn")
    options = run_options.for_worker(where.workers)
    arguments = (bench.plan, goal, where, bench.parent, options)
    crew: list[SpawnProcess] = []
    deaths = 0
    try:
        while deaths <= DEATHS * where.workers:
            bench.study.reconcile()
            while len(crew) < where.workers and bench.study.open(goal):
                crew.append(context.Process(target=_worker, args=arguments, daemon=True))
                crew[-1].start()
            if not crew:
                if _waits(bench.study, goal):
                    continue
                break
            multiprocessing.connection.wait([p.sentinel for p in crew], timeout=POLL)
            deaths += sum(p.exitcode not in (None, 0) for p in crew)
            crew = [p for p in crew if p.exitcode is None]
            _tell(bench, bars, seen)
    finally:
        for process in crew:
            process.terminate()
        for process in crew:
            process.join()
        _tell(bench, bars, seen)


def _tell(bench: Bench, bars: TrialBars, seen: set[int]) -> None:
    """Show the trials that ended since the last look."""
    new = [t for t in bench.study.ended() if t.number not in seen]
    for t in new:
        seen.add(t.number)
        bars.over(ended_of(bench.plan, t), bench.plan.objectives)
    if new:
        files.write(bench.study)


def _worker(plan: SweepPlan, goal: Goal, where: Where, parent: str, options: RunOptions) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent tells us
    signal.signal(signal.SIGTERM, _stop)
    workers.start(options)
    bars = TrialBars(1, quiet=True)
    try:
        with closing(Study(plan, where.storage)) as study:
            bench = Bench(study, open_ledger(where.uri), where.device, parent, bars)
            size = _beside(plan, goal, where)
            while taken := _take(study, goal, size):
                for _ in trial.run_all(bench, taken, where.cotrain):
                    pass  # the parent reads how it ended from the study
    except KeyboardInterrupt:
        return


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


# --- what was found ----------------------------------------------------------------------------


def _best(study: Study, ended: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The best complete trial (of equals the first), or the front, cheapest settings first."""
    signs = [-1 if d == "maximize" else 1 for d in study.plan.directions]
    done = [t for t in ended if t.state == TrialState.COMPLETE]
    keys = {t.number: [s * v for s, v in zip(signs, t.values, strict=True)] for t in done}
    if len(signs) == 1:
        return sorted(done, key=lambda t: (keys[t.number], t.number))[:1]
    front: list[FrozenTrial] = []
    for t in sorted(done, key=lambda t: (keys[t.number], t.number)):
        if all(keys[t.number][1] < keys[f.number][1] for f in front):
            front.append(t)
    return front
