"""A device that is not the CPU, for tests on machines without one.

Its tensors are kept in the machine's memory, but no operation takes them together with tensors of
the CPU, as no GPU does. Runs whole and with the same numbers, so that what is left on the wrong
device shows: a constant that a function makes, a batch that was not moved, a mask.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

NAME = "elsewhere"
aten = torch.ops.aten
CROSSES = (aten.copy_.default, aten._copy_from.default)  # between devices
MOVES = (*CROSSES, aten._to_copy.default)


class Misplaced(RuntimeError):
    """Tensors of two devices in one operation."""


class Crossing(RuntimeError):
    """The device and the machine wait for each other in what should be recorded."""


class There(Tensor):
    """A tensor on the device, around one of the CPU that holds its numbers."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "There":
        made: There = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(NAME, 0),
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            if func == Tensor.tolist:  # torch refuses it for subclasses
                return args[0].detach().cpu().tolist()
            found = func(*args, **kwargs or {})
            if func == Tensor.data.__set__:  # type: ignore[attr-defined]
                args[0].inner = args[1].inner
            return found

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class Draws(torch.Generator):
    """A generator of random numbers there; its numbers are those of the CPU's. Operations get it as
    another object, so it is known by its seed."""

    seeds: ClassVar[set[int]] = set()

    def manual_seed(self, seed: int) -> "Draws":
        self.seeds.add(seed)
        super().manual_seed(seed)
        return self


def _generator(device: Any = "cpu") -> torch.Generator:
    there = torch.device(device).type == NAME
    return Draws("cpu") if there else Generator(device)


Generator = torch.Generator


class _Device(TorchDispatchMode):
    """Makes what is asked for there, there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Constants(TorchFunctionMode):
    """``torch.tensor`` goes past what makes other tensors: it is made here and moved."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        asked = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and asked is not None:
            rest = {name: value for name, value in kwargs.items() if name != "device"}
            return func(*args, **rest).to(asked)
        return func(*args, **kwargs)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)]
    there = any(isinstance(t, There) for t in tensors)
    asked = kwargs.get("device")
    if asked is not None:
        there = torch.device(asked).type == NAME
        kwargs = kwargs | ({"device": torch.device("cpu")} if there else {})
    elif there and func not in CROSSES:
        strangers = [t for t in tensors if not isinstance(t, There) and t.dim()]
        if strangers:
            shapes = [tuple(t.shape) for t in strangers]
            raise Misplaced(f"{func}: tensors of the CPU {shapes} beside tensors of {NAME}")
    draws = kwargs.get("generator")
    if there and draws is not None and draws.initial_seed() not in Draws.seeds:
        raise Misplaced(f"{func}: a generator of another device")
    if _recorded and _waits(func, tensors, there):
        raise Crossing(f"{func}: what is recorded may not wait for the machine")
    inside = {id(t.inner): t for t in tensors if isinstance(t, There)}
    bare_args, bare_kwargs = tree_map_only(There, lambda t: t.inner, (args, kwargs))
    if kwargs.get("pin_memory"):
        bare_kwargs["pin_memory"] = False
    found = func(*bare_args, **bare_kwargs)
    if not there:
        return found

    def wrapped(t: Tensor) -> There:
        return inside[id(t)] if id(t) in inside else There(t)

    found = tree_map_only(Tensor, wrapped, found)
    return return_and_correct_aliasing(func, args, kwargs, found)


def _waits(func: Any, tensors: Sequence[Tensor], there: bool) -> bool:
    """Whether numbers go from one device to the other, or the result's size hangs on them."""
    comes = any(isinstance(t, There) for t in tensors)
    if func == aten._local_scalar_dense.default:
        return comes
    if func in MOVES:
        return comes != there or len({isinstance(t, There) for t in tensors}) > 1
    if func == aten.index.Tensor:  # by a mask; numbers do not matter
        return comes and any(t.dtype in (torch.bool, torch.uint8) for t in tensors[1:])
    return comes and torch.Tag.dynamic_output_shape in func.tags


_named: list[str] = []
_recorded: list[bool] = []


@contextmanager
def no_crossings() -> Iterator[None]:
    """What happens inside could be recorded on a GPU: raises Crossing where it could not."""
    _recorded.append(True)
    try:
        yield
    finally:
        _recorded.pop()


@contextmanager
def device() -> Iterator[torch.device]:
    """The device, as long as it is there."""
    if not _named:  # once a process
        backend_registration._setup_privateuseone_for_python_backend(NAME)
        getattr(torch, NAME).get_amp_supported_dtype = lambda: [torch.bfloat16]
        _named.append(NAME)
    torch.Generator = _generator  # type: ignore[assignment,misc]
    try:
        with _Device(), _Constants():
            yield torch.device(NAME, 0)
    finally:
        torch.Generator = Generator  # type: ignore[misc]
