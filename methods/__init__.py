"""Registry of methods: each file in this folder defines one `Method`, found by the file's name.

Importing this package, listing the names and failing on an unknown name need no torch.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from methods.kit.core.errors import UsageError, unknown

if TYPE_CHECKING:
    from methods.kit.contract.method import Method


def names() -> tuple[str, ...]:
    """Return the names of all methods, sorted."""
    return tuple(sorted(m.name for m in iter_modules(__path__) if not m.ispkg))


@cache
def find(name: str) -> "type[Method]":
    """Return the method class in ``methods/<name>.py``.

    Raises UsageError, with the nearest name, for an unknown method.
    """
    if name not in names():
        raise unknown(f"method {name!r}", name, names())
    module = import_module(f"methods.{name}")
    from methods.kit.contract.method import Method

    here = [k for k in vars(module).values() if getattr(k, "__module__", "") == module.__name__]
    found = [kind for kind in here if isinstance(kind, type) and issubclass(kind, Method)]
    if len(found) != 1 or "__dataclass_fields__" not in vars(found[0]):
        raise UsageError(f"methods/{name}.py must define exactly one Method, as a frozen dataclass")
    return found[0]


def name_of(method: "Method | type[Method]") -> str:
    """Return the name under which a method is found."""
    kind = method if isinstance(method, type) else type(method)
    return kind.__module__.rpartition(".")[2]
