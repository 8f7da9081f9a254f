"""Runs the trials of a sweep until its budget is spent, in one process or several.

The sweep survives the death of any process: its trial is queued again.
"""

import math
import multiprocessing
import multiprocessing.connection
import signal
import time
from collections.abc import Sequence
from contextlib import closing
from multiprocessing.context import SpawnProcess
from types import FrameType

from harness.cli import console
from harness.model import run_options
from harness.model.run_options import RunOptions
from harness.run import grouping
from harness.run.execute import pick_device
from harness.tracking.ledger import Ledger, open_ledger
from methods.kit.core.errors import UsageError
from sweeps.study.budget import Budget
from sweeps.study.files import write_sweep
from sweeps.study.optuna_study import FREE_ENDS, RunningTrial, Study, is_free
from sweeps.study.sweep_plan import SweepPlan
from sweeps.study.sweep_summary import SweepSummary, summarize
from sweeps.study.trial import TrialContext, TrialOutcome, outcome_of, run_trials
from sweeps.suite.drive import interrupted, upload_report
from sweeps.suite.options import DriveOptions
from sweeps.suite.workers import start_worker

POLL = 1.0  # seconds between checks of the study
DEATHS = 10  # for each worker, before a sweep gives up


class TrialBars(console.ProgressBars):
    """Progress with a line for each trial; its runs move the inner bar only."""

    def end(self, line: str) -> None:
        self.close_run()

    def end_trial(self, outcome: TrialOutcome, objectives: Sequence[str]) -> None:
        """Show a trial that ended; free ones are counted at the end of the sweep."""
        if outcome.end not in FREE_ENDS:
            super().end(outcome.sentence(objectives))


def run_sweep(plan: SweepPlan, budget: Budget, options: DriveOptions) -> SweepSummary:
    """Continue a sweep until its budget is spent. Ctrl-C ends it early and keeps everything."""
    ledger = open_ledger(options.uri)
    with closing(Study(plan, options.storage)) as study:
        return _run(study, budget, options, ledger)


def _run(study: Study, budget: Budget, options: DriveOptions, ledger: Ledger) -> SweepSummary:
    plan = study.plan
    study.requeue_dead()
    parent = ledger.start_parent(plan.name, plan.protocol, "sweep", plan.note)
    before = study.ended()
    write_sweep(study)
    recorded = sum(not is_free(t) for t in before)
    if not options.silent:
        console.say(f"{plan.name}: {budget}, {recorded} already recorded")
    bars = TrialBars(max(0, (budget.trials or 0) - recorded), options.silent)
    context = TrialContext(study, ledger, options, parent, bars)
    loop = _run_here if options.workers == 1 else _run_workers
    stopped = interrupted(lambda: loop(context, budget, bars), bars)
    study.give_back()
    study.requeue_dead()
    summary = summarize(study, budget, stopped)
    ledger.end_parent(parent, complete=summary.reached)
    if summary.reached and summary.best and len(study.ended()) > len(before):
        upload_report("sweep", options.uri, parent, plan.name)
    return summary


def _run_here(context: TrialContext, budget: Budget, bars: TrialBars) -> None:
    size = _batch_size(context.plan, budget, context.options)
    while True:
        trials = _take(context.study, budget, size)
        for outcome in run_trials(context, trials):
            bars.end_trial(outcome, context.plan.objectives)
            write_sweep(context.study)
        if not trials and not _wait_for_others(context.study, budget):
            return


def _batch_size(plan: SweepPlan, budget: Budget, options: DriveOptions) -> int:
    """Return how many trials a worker takes at a time, so that all workers have some.

    Trials are pruned by the values of others, so with a pruner ``auto`` takes one at a time: ending
    the worse half early saves more than co-training.
    """
    size = grouping.parse_size(options.cotrain)
    if size == 0 and plan.prunes:
        size = 1
    if size == 0:
        try:
            spec = plan.specs(plan.initial_trials()[0])[0]
            size = grouping.auto_size(spec, pick_device(options.device))
        except UsageError:  # impossible settings end their own trial
            size = 1
    return min(size, math.ceil((budget.trials or size) / options.workers))


def _take(study: Study, budget: Budget, size: int) -> list[RunningTrial]:
    trials: list[RunningTrial] = []
    while len(trials) < size and (trial := study.take(budget)) is not None:
        trials.append(trial)
    return trials


def _wait_for_others(study: Study, budget: Budget) -> bool:
    """Wait a little if the budget depends on the trials of others; return whether it does."""
    if study.is_reached(budget) or not study.waits_for_others():
        return False
    time.sleep(POLL)
    return True


# --- several processes -------------------------------------------------------------------------


def _run_workers(context: TrialContext, budget: Budget, bars: TrialBars) -> None:
    """Keep workers running; replace one that dies, whose trial has been queued again."""
    study, count = context.study, context.options.workers
    spawn = multiprocessing.get_context("spawn")
    arguments = (study.plan, budget, context.options, context.parent, run_options.for_worker(count))
    seen = {t.number for t in study.ended()}
    processes: list[SpawnProcess] = []
    deaths = 0
    try:
        while deaths <= DEATHS * count:
            while len(processes) < count and study.has_open_trial(budget):
                processes.append(spawn.Process(target=_work, args=arguments, daemon=True))
                processes[-1].start()
            if not processes:
                if _wait_for_others(study, budget):
                    continue
                break
            multiprocessing.connection.wait([p.sentinel for p in processes], timeout=POLL)
            deaths += sum(p.exitcode not in (None, 0) for p in processes)
            processes = [p for p in processes if p.exitcode is None]
            _show_ended(study, bars, seen)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        _show_ended(study, bars, seen)


def _show_ended(study: Study, bars: TrialBars, seen: set[int]) -> None:
    """Show the trials that are not among those ``seen``."""
    new = [t for t in study.ended() if t.number not in seen]
    for trial in new:
        seen.add(trial.number)
        bars.end_trial(outcome_of(study.plan, trial), study.plan.objectives)
    if new:
        write_sweep(study)


def _work(
    plan: SweepPlan, budget: Budget, options: DriveOptions, parent: str, process: RunOptions
) -> None:
    """Run trials in a worker process; the parent reads their outcomes from the study."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent stops us
    signal.signal(signal.SIGTERM, _interrupt)
    start_worker(process)
    try:
        with closing(Study(plan, options.storage)) as study:
            ledger, bars = open_ledger(options.uri), TrialBars(1, quiet=True)
            context = TrialContext(study, ledger, options, parent, bars)
            size = _batch_size(plan, budget, options)
            while trials := _take(study, budget, size):
                for _ in run_trials(context, trials):
                    pass
    except KeyboardInterrupt:
        return


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
