"""Counts the floating-point operations of what runs inside, by torch's formulas.

torch's own FlopCounterMode asks of every operation whether it decomposes, and keeps a table by
module. That takes longer than the step of a small model; the sums are the same.
"""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Operations(TorchDispatchMode):
    """A multiplication and an addition are two."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(getattr(func, "overloadpacket", func))
        if formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=out))
        return out
