"""A quicker start of the command and of the processes that it starts.

open_clip imports transformers, where it is installed, for text towers that are not run here: a
second of every start. Here it goes without. Whoever imports this package gets open_clip whole.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

OURS = "RINGBENCH_COMMAND"  # in the environment of the command's own processes


def begin() -> None:
    """This process and those that it starts are the command's own."""
    os.environ[OURS] = "1"


@contextmanager
def without(name: str) -> Iterator[None]:
    """What is imported inside finds no package of this name, in processes of our own; later it is
    found as ever."""
    if OURS not in os.environ or name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # Python's word for "cannot be imported"
    try:
        yield
    finally:
        del sys.modules[name]
