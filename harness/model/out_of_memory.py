"""Recovery when memory runs out: recognise the error, and continue with less at a time."""

from collections.abc import Callable

import torch
from torch import Tensor

MESSAGES = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, on the device or in the host (a RuntimeError of torch)."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in MESSAGES)


def release_memory() -> None:
    """Give the device's unused memory back; call it when the error is no longer referenced."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class ChunkedCall:
    """A function of rows, called on all of them; after memory ran out, on fewer at a time."""

    def __init__(self, fn: Callable[[Tensor], Tensor]) -> None:
        self.fn = fn
        self.size: int | None = None  # rows per call; None: all

    def __call__(self, x: Tensor) -> Tensor:
        start, results = 0, list[Tensor]()
        while start < len(x) or not results:
            rows = x[start : start + (self.size or len(x))]
            try:
                results.append(self.fn(rows))
                start += max(len(rows), 1)
                continue
            except Exception as error:
                if not is_out_of_memory(error) or len(rows) < 2:
                    raise
            self.size = len(rows) // 2
            release_memory()
        return results[0] if len(results) == 1 else torch.cat(results)
