"""A recorder for the CPU: what was done is done again to the same memory, as a CUDA graph does.

It refuses what a graph cannot hold: numbers read from the device, and draws.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    """Operations in their order, with the tensors that they read and wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("a number is read from the device")
        if torch.Tag.nondeterministic_seeded in func.tags and "attention" not in str(func):
            raise RuntimeError(f"{func} draws")
        result = func(*args, **kwargs)
        made = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        self.done.append((func, args, kwargs, made))
        return result

    def play(self) -> None:
        self.replays += 1
        with torch.no_grad():
            for func, args, kwargs, made in self.done:
                views = [r.alias_info for r in func._schema.returns]
                if any(v is not None and not v.is_write for v in views):
                    continue  # a view shows what its memory holds now
                again = [t for t in tree_leaves(func(*args, **kwargs)) if isinstance(t, Tensor)]
                for old, new in zip(made, again, strict=True):
                    if old.data_ptr() != new.data_ptr():
                        old.copy_(new)


class Tapes:
    """Records each step on a tape of its own."""

    keeps_gradients = True

    def __init__(self) -> None:
        self.tapes: list[Tape] = []

    def capture(self, run: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        tape = Tape()
        with tape:
            outcome = run()
        self.tapes.append(tape)
        return outcome, tape.play

    def warm_up(self, run: Callable[[], Any]) -> Any:
        return run()
