"""A process's cache of frozen computations: tensors by what they depend on, within ``--cache``.

The least recently used tensors are dropped first. The budget changes speed and memory, never a
result.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import psutil
import torch
from torch import Tensor

from harness.model import run_options
from harness.model.run_options import UNITS

AUTO_BYTES = 2 << 30  # on a CPU, but at most a quarter of the memory; on a GPU a quarter of its own


class TensorCache:
    """Tensors by key, the most recently used last."""

    def __init__(self) -> None:
        self._tensors: OrderedDict[Hashable, Tensor] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], Tensor]) -> Tensor:
        """Return the tensor of a key; compute it if it is not cached."""
        value = self._tensors.pop(key, None)
        if value is None:
            value = compute()
        self._tensors[key] = value
        self._trim()
        return value

    def find(self, key: Hashable) -> Tensor | None:
        """Return the tensor of a key if it is cached."""
        self._trim()
        return self._tensors.get(key)

    def clear(self) -> None:
        self._tensors.clear()

    def _trim(self) -> None:
        if not self._tensors:
            return
        budget = cache_budget(next(reversed(self._tensors.values())).device)
        while self._tensors and sum(t.nbytes for t in self._tensors.values()) > budget:
            self._tensors.popitem(last=False)


shared_cache = TensorCache()


def cache_budget(device: torch.device) -> int:
    """Return how many bytes the runs on a device may cache."""
    size = run_options.parse_budget(run_options.current().cache)
    if size is not None:
        return size
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 4
    return min(AUTO_BYTES, psutil.virtual_memory().total // 4)


def format_bytes(size: float) -> str:
    """1234567 -> 1.23 MB."""
    for unit, bytes_ in reversed(UNITS.items()):
        if size >= bytes_:
            return f"{size / bytes_:.3g} {unit}"
    return f"{size:.0f} bytes"
