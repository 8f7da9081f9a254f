"""Long work below a run says how far it is; whoever shows a bar listens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]  # what, done, total

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def report(what: str, done: int, total: int) -> None:
    """``done`` of ``total`` of something that takes a while; nobody need listen."""
    listener = _listener.get()
    if listener is not None:
        listener(what, done, total)


@contextmanager
def reported_to(listener: Listener) -> Iterator[None]:
    """What is reported inside goes to ``listener``."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
