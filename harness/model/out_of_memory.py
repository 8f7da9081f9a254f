"""What to do when memory runs out: notice it, and go on with less at a time."""

from collections.abc import Callable

import torch
from torch import Tensor

MESSAGES = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: the device's, or the machine's (which torch
    reports as a RuntimeError)."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in MESSAGES)


def release_memory() -> None:
    """Give the device's unused memory back; call it when the error is no longer held."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class ChunkedCall:
    """A function of rows, called on all of them, or once memory has run out on fewer at a time."""

    def __init__(self, fn: Callable[[Tensor], Tensor]) -> None:
        self.fn = fn
        self.most: int | None = None  # rows at a time; None: as they come

    def __call__(self, x: Tensor) -> Tensor:
        start, found = 0, list[Tensor]()
        while start < len(x) or not found:
            rows = x[start : start + (self.most or len(x))]
            try:
                found.append(self.fn(rows))
                start += max(len(rows), 1)
                continue
            except Exception as error:
                if not is_out_of_memory(error) or len(rows) < 2:
                    raise
            self.most = len(rows) // 2
            release_memory()
        return found[0] if len(found) == 1 else torch.cat(found)
