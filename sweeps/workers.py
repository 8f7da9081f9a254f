"""Runs a list of specs over one ledger: in this process, or in a pool of local processes.

Each run is recorded by the process that ran it, so nothing is lost when another one dies.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch

from harness import console, one
from harness.ledger import open_ledger
from harness.one import Done
from harness.pool import die_with_parent
from harness.spec import Spec
from harness.store import kept

TRIES = 2  # a run whose process died is tried once more


@dataclass(frozen=True)
class Job:
    """What a worker needs to run a spec."""

    spec: Spec
    device: str
    uri: str | None
    parent: str | None


def run_all(
    specs: Sequence[Spec],
    device: str,
    uri: str | None,
    parent: str | None,
    workers: int,
    bars: console.Bars,
) -> Iterator[Done]:
    """Run specs, yielding how each ended, in the order in which they end."""
    jobs = [Job(spec, device, uri, parent) for spec in specs]
    if workers <= 1 or not jobs:
        for job in jobs:
            yield _run(job, bars)
        return
    for done in _pooled(jobs, workers):
        bars.end(one.sentence(done))
        yield done


def _pooled(jobs: list[Job], workers: int) -> Iterator[Done]:
    for attempt in range(1, TRIES + 1):
        lost: list[Job] = []
        with ProcessPoolExecutor(
            max_workers=min(workers, len(jobs)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=start,
            initargs=(max(1, torch.get_num_threads() // workers), kept.word),
        ) as pool:
            futures: dict[Future[Done], Job] = {pool.submit(_run_quietly, j): j for j in jobs}
            try:
                for future in as_completed(futures):
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        lost.append(futures[future])
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if not lost:
            return
        jobs = lost
        if attempt == TRIES:
            for job in lost:
                yield Done(job.spec, "failed", {}, "its worker process died (out of memory?)")


def start(threads: int, cache: str) -> None:
    """Begin as a worker: few threads, the given budget, and no life beyond the parent's."""
    torch.set_num_threads(threads)
    kept.use(cache)
    die_with_parent()  # a run in flight is simply run again later


def _run_quietly(job: Job) -> Done:
    return _run(job, console.Bars(1, quiet=True))


def _run(job: Job, bars: console.Bars) -> Done:
    ledger = open_ledger(job.uri)
    with ledger.claim(job.spec.digest()) as mine:
        if not mine:
            done = Done(job.spec, "running", {}, "another process runs this spec just now")
            bars.end(one.sentence(done))
            return done
        return one.fresh(job.spec, job.device, ledger, bars, job.parent)
