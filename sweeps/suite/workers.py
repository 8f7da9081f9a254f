"""Runs a list of specs over one ledger: in this process, or in a pool of local processes.

Each run is recorded by the process that ran it, so nothing is lost when another one dies.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace

from harness.cli import console
from harness.data.worker_pool import die_with_parent
from harness.model import run_options
from harness.model.run_options import RunOptions
from harness.run import grouping
from harness.run.execute import pick_device
from harness.spec.spec import Spec
from harness.tracking import driver
from harness.tracking.driver import RunOutcome
from harness.tracking.ledger import open_ledger

TRIES = 2  # a run whose process died is tried once more


@dataclass(frozen=True)
class Job:
    """What a worker needs to run specs side by side, or one."""

    specs: tuple[Spec, ...]
    device: str
    uri: str | None
    parent: str | None

    def apart(self) -> list["Job"]:
        """The same, each spec for itself."""
        return [replace(self, specs=(spec,)) for spec in self.specs]


def run_all(
    specs: Sequence[Spec],
    device: str,
    uri: str | None,
    parent: str | None,
    workers: int,
    bars: console.ProgressBars,
    cotrain: str = "auto",
) -> Iterator[RunOutcome]:
    """Run specs, yielding how each ended, in the order in which they end.

    ``cotrain`` says how many stand side by side (harness/run/grouping.py).
    """
    found = grouping.groups(specs, cotrain, workers, pick_device(device))
    jobs = [Job(group, device, uri, parent) for group in found]
    if workers <= 1 or not jobs:
        for job in jobs:
            yield from _run(job, bars)
        return
    for done in _pooled(jobs, workers):
        bars.end(driver.summary_line(done))
        yield done


def _pooled(jobs: list[Job], workers: int) -> Iterator[RunOutcome]:
    for attempt in range(1, TRIES + 1):
        lost: list[Job] = []
        with ProcessPoolExecutor(
            max_workers=min(workers, len(jobs)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=start,
            initargs=(run_options.for_worker(workers),),
        ) as pool:
            futures = {pool.submit(_run_quietly, job): job for job in jobs}
            try:
                for future in as_completed(futures):
                    try:
                        yield from future.result()
                    except BrokenProcessPool:
                        lost.append(futures[future])
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if not lost:
            return
        jobs = [one for job in lost for one in job.apart()]
        if attempt == TRIES:
            for job in jobs:
                yield RunOutcome(
                    job.specs[0], "failed", {}, "its worker process died (out of memory?)"
                )


def start(options: RunOptions) -> None:
    """Start a worker with the options of its parent; it ends with its parent."""
    run_options.use(options)
    die_with_parent()  # a run in flight is simply run again later


def _run_quietly(job: Job) -> list[RunOutcome]:
    return list(_run(job, console.ProgressBars(1, quiet=True)))


def _run(job: Job, bars: console.ProgressBars) -> Iterator[RunOutcome]:
    """Run what nobody else is at, and what is not recorded by now."""
    ledger = open_ledger(job.uri)
    with ExitStack() as claims:
        mine = []
        for spec in job.specs:
            if claims.enter_context(ledger.claim(spec.digest())):
                mine.append(spec)
            else:
                done = RunOutcome(spec, "running", {}, "another process runs this spec just now")
                bars.end(driver.summary_line(done))
                yield done
        yield from driver.run_and_record(mine, job.device, ledger, bars, job.parent)
