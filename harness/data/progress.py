"""Progress of long work: reported here, shown by whoever listens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]  # what, done, total

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def report(what: str, done: int, total: int) -> None:
    """Report that ``done`` of ``total`` is finished; without a listener nothing happens."""
    listener = _listener.get()
    if listener is not None:
        listener(what, done, total)


@contextmanager
def reported_to(listener: Listener) -> Iterator[None]:
    """Send what is reported inside to ``listener``."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
