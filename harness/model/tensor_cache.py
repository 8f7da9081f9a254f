"""A process's store of what was computed once: tensors by what they depend on, within a budget.

What was used longest ago goes first. The budget changes speed and memory, never what is computed;
0 keeps nothing.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import psutil
import torch
from torch import Tensor

from methods.kit.core.errors import UsageError

AUTO_BYTES = 2 << 30  # on a CPU, but at most a quarter of the memory; on a GPU a quarter of its own
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class TensorCache:
    """``word`` is ``auto``, ``off`` or a size, as the command line takes it."""

    def __init__(self) -> None:
        self.word = "auto"
        self._kept: OrderedDict[Hashable, Tensor] = OrderedDict()

    def use(self, word: str) -> None:
        """Set the budget. Raises UsageError for what is none."""
        parse_budget(word)
        self.word = word
        self._trim(self.budget(torch.device("cpu")))

    @contextmanager
    def using(self, word: str) -> Iterator[None]:
        """Another budget for a while."""
        before = self.word
        self.use(word)
        try:
            yield
        finally:
            self.use(before)

    def budget(self, device: torch.device) -> int:
        """Bytes that may be kept for runs on a device."""
        size = parse_budget(self.word)
        if size is not None:
            return size
        if device.type == "cuda":
            return torch.cuda.get_device_properties(device).total_memory // 4
        return min(AUTO_BYTES, psutil.virtual_memory().total // 4)

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The tensor of a key, made where it is not kept."""
        value = self._kept.pop(key, None)
        if value is None:
            value = make()
        self._kept[key] = value
        self._trim(self.budget(value.device))
        return value

    def find(self, key: Hashable) -> Tensor | None:
        """The tensor of a key if it is kept."""
        return self._kept.get(key)

    def clear(self) -> None:
        self._kept.clear()

    def _trim(self, budget: int) -> None:
        while self._kept and sum(t.nbytes for t in self._kept.values()) > budget:
            self._kept.popitem(last=False)


def parse_budget(word: str) -> int | None:
    """Bytes for ``off``, ``500MB`` or ``2.5GB``; None for ``auto``. Raises UsageError."""
    if word in ("auto", "off"):
        return None if word == "auto" else 0
    number, unit = word[:-2], word[-2:].upper()
    if unit in UNITS and number.replace(".", "", 1).isdecimal():
        return int(float(number) * UNITS[unit])
    raise UsageError(f"--cache {word!r}: expected auto, off, or a size such as 500MB or 4GB")


shared_cache = TensorCache()


def format_bytes(size: float) -> str:
    """1234567 -> 1.2 MB."""
    for unit, bytes_ in reversed(UNITS.items()):
        if size >= bytes_:
            return f"{size / bytes_:.3g} {unit}"
    return f"{size:.0f} bytes"
