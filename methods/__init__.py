"""The folder is the registry: a file here that defines one `Method` is a method of that name."""

from dataclasses import is_dataclass
from functools import cache
from importlib import import_module
from inspect import getmembers, isabstract, isclass
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from methods.kit.core.errors import UsageError, unknown

if TYPE_CHECKING:
    from methods.kit.contract.adapter import Adapter, Method, Task

__all__ = ["Adapter", "Method", "Task", "UsageError", "find", "name_of", "names"]


def __getattr__(name: str) -> Any:
    """Import the contract, and with it torch, only when it is used."""
    if name in ("Adapter", "Method", "Task"):
        from methods.kit.contract import adapter

        return getattr(adapter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def names() -> tuple[str, ...]:
    """Every method there is, sorted."""
    return tuple(sorted(m.name for m in iter_modules(__path__) if not m.ispkg))


@cache
def find(name: str) -> "type[Method]":
    """The method class in ``methods/<name>.py``; an unknown name says which one was meant."""
    if name not in names():
        raise unknown(f"method {name!r}", name, names())
    from methods.kit.contract.adapter import Method

    module = import_module(f"methods.{name}")
    here = [
        kind
        for _, kind in getmembers(module, isclass)
        if issubclass(kind, Method) and not isabstract(kind) and kind.__module__ == module.__name__
    ]
    if len(here) != 1 or not is_dataclass(here[0]):
        raise UsageError(f"methods/{name}.py must define exactly one Method, as a frozen dataclass")
    return here[0]


def name_of(method: "Method | type[Method]") -> str:
    """The name a method is found by."""
    kind = method if isinstance(method, type) else type(method)
    return kind.__module__.rpartition(".")[2]
