"""A few processes for work that is worth them; they end when this one does, however it ends."""

import multiprocessing
import multiprocessing.connection
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

import torch

T = TypeVar("T")
MOST = 32


def worker_count() -> int:
    """How many processes may work at once: as many as torch has threads (--threads)."""
    return max(1, min(torch.get_num_threads(), MOST))


def map_unordered(
    work: Callable[..., T], jobs: Iterable[tuple[Any, ...]], workers: int
) -> Iterator[T]:
    """``work(*job)`` for every job, in the order in which they end; in this process for one.

    Jobs are taken from the iterable as there is room, so that not all wait in memory.
    """
    if workers <= 1:
        for job in jobs:
            yield work(*job)
        return
    with warnings.catch_warnings():
        # Python 3.12 warns of fork beside threads; the children touch nothing but their images.
        warnings.simplefilter("ignore", DeprecationWarning)
        with ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context(_start()), initializer=die_with_parent
        ) as pool:
            yield from _windowed(pool, work, iter(jobs), 2 * workers)


def _windowed(
    pool: ProcessPoolExecutor, work: Callable[..., T], jobs: Iterator[Any], window: int
) -> Iterator[T]:
    pending: set[Future[T]] = set()
    try:
        for job in jobs:
            pending.add(pool.submit(work, *job))
            if len(pending) >= window:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def die_with_parent() -> None:
    """End this process when its parent is gone, also by kill -9."""
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _start() -> str:
    """fork needs no ``if __name__ == "__main__"`` of whoever calls."""
    return "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
