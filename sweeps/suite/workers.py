"""Runs specs over one ledger: in this process, or in a pool of local processes.

The process that made a run records it, so the death of another one loses nothing.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack

from harness.cli import console
from harness.data.worker_pool import die_with_parent
from harness.model import run_options
from harness.model.run_options import RunOptions
from harness.run import grouping
from harness.run.execute import pick_device
from harness.spec.spec import Spec
from harness.tracking import driver
from harness.tracking.driver import RunOutcome, RunProgress
from harness.tracking.ledger import open_ledger
from sweeps.suite.options import DriveOptions

ATTEMPTS = 2  # at a run whose process died

Group = tuple[Spec, ...]  # co-trained runs


def run_specs(
    specs: Sequence[Spec], options: DriveOptions, parent: str | None, progress: RunProgress
) -> Iterator[RunOutcome]:
    """Run specs below the MLflow run ``parent``; yield their outcomes in the order of their ends.

    ``options.cotrain`` says how many are co-trained (harness/run/grouping.py).
    """
    device = pick_device(options.device)
    groups = grouping.groups(specs, options.cotrain, options.workers, device)
    if options.workers <= 1 or not groups:
        for group in groups:
            yield from _run_group(group, options, parent, progress)
        return
    for outcome in _run_in_pool(groups, options, parent):
        progress.end(driver.summary_line(outcome))
        yield outcome


def start_worker(options: RunOptions) -> None:
    """Set up a worker process that ends when its parent does; its run is repeated later."""
    run_options.use(options)
    die_with_parent()


def _run_in_pool(
    groups: list[Group], options: DriveOptions, parent: str | None
) -> Iterator[RunOutcome]:
    for _ in range(ATTEMPTS):
        lost: list[Group] = []
        with ProcessPoolExecutor(
            max_workers=min(options.workers, len(groups)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=start_worker,
            initargs=(run_options.for_worker(options.workers),),
        ) as pool:
            futures = {pool.submit(_run_quietly, g, options, parent): g for g in groups}
            try:
                for future in as_completed(futures):
                    try:
                        yield from future.result()
                    except BrokenProcessPool:
                        lost.append(futures[future])
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        groups = [(spec,) for group in lost for spec in group]
        if not groups:
            return
    for (spec,) in groups:
        yield RunOutcome(spec, "failed", {}, "its worker process died (out of memory?)")


def _run_quietly(group: Group, options: DriveOptions, parent: str | None) -> list[RunOutcome]:
    return list(_run_group(group, options, parent, console.ProgressBars(1, quiet=True)))


def _run_group(
    group: Group, options: DriveOptions, parent: str | None, progress: RunProgress
) -> Iterator[RunOutcome]:
    """Run the specs of a group that no other process runs."""
    ledger = open_ledger(options.uri)
    with ExitStack() as claims:
        claimed = []
        for spec in group:
            if claims.enter_context(ledger.claim(spec.digest())):
                claimed.append(spec)
            else:
                other = RunOutcome(spec, "running", {}, "another process runs this spec just now")
                progress.end(driver.summary_line(other))
                yield other
        yield from driver.run_and_record(claimed, options.device, ledger, progress, parent)
