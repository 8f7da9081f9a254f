"""The only import of open_clip.

open_clip imports transformers where it is installed, for text towers that are not supported here.
That takes a second, so the command's own processes hide it. Programs that import RingBench as a
library get the whole open_clip.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from harness.spec.environment import OWN_PROCESS


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Hide a package from the imports inside, in the command's own processes."""
    if OWN_PROCESS not in os.environ or name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # Python's way to make an import fail
    try:
        yield
    finally:
        del sys.modules[name]


with _without("transformers"):
    import open_clip

__all__ = ["open_clip"]
