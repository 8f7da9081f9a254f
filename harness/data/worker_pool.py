"""Worker processes for decoding; they end when this process does, however it ends."""

import multiprocessing
import multiprocessing.connection
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, TypeVar

import torch

T = TypeVar("T")
MOST = 32


def worker_count() -> int:
    """Return how many processes may work at once: as many as torch has threads (--threads)."""
    return max(1, min(torch.get_num_threads(), MOST))


def map_ordered(
    work: Callable[..., T], jobs: Iterable[tuple[Any, ...]], workers: int
) -> Iterator[T]:
    """Yield ``work(*job)`` for every job, in order; a single worker is this process.

    Jobs are taken from the iterable as workers become free, so that not all wait in memory.
    """
    if workers <= 1:
        yield from (work(*job) for job in jobs)
        return
    # fork needs no ``if __name__ == "__main__"`` in the caller's script.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=die_with_parent)
    pending: deque[Future[T]] = deque()
    try:
        for job in jobs:
            with warnings.catch_warnings():
                # Python 3.12 warns of fork beside threads; the children only touch their images.
                warnings.simplefilter("ignore", DeprecationWarning)
                pending.append(pool.submit(work, *job))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def die_with_parent() -> None:
    """End this process when its parent is gone, also after kill -9."""
    threading.Thread(target=_watch_parent, daemon=True).start()


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
