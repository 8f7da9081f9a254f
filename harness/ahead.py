"""The next batch is prepared on a side stream of the GPU while it computes a step."""

from collections.abc import Iterator

import torch
from torch import Tensor

from harness.batch import Batch


def moved(x: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device. What comes from the machine's memory goes through locked pages, which
    the GPU reads by itself while both go on."""
    if device.type != "cuda" or x.is_cuda:
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches. On a GPU each is made when the step of the one before was launched, on a
    stream of its own: reading, moving and augmenting it hides behind that step."""
    if device.type != "cuda":
        yield from batches
        return
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))  # what batches are made of is there
    while True:
        with torch.cuda.stream(side):
            batch = next(batches, None)
        if batch is None:
            return
        now = torch.cuda.current_stream(device)
        now.wait_stream(side)
        for tensor in (batch.x, batch.labels, batch.rows):
            tensor.record_stream(now)
        yield batch
