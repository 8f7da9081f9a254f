"""What a method is written with: ``from methods.kit import Adapter, Clip, Method, Task``.

Types of fields are in ``methods.kit.core.field_types``; parts that several methods share are in
``methods.kit.parts`` and ``methods.kit.ring``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from methods.kit.core.errors import UsageError

if TYPE_CHECKING:
    from methods.kit.binding.wiring import Ref
    from methods.kit.contract.adapter import Adapter
    from methods.kit.contract.method import Method, Stage, Task
    from methods.kit.contract.step import Step
    from methods.kit.core.clip import Block, Clip, Site, Tower

__all__ = ["Adapter", "Block", "Clip", "Method", "Ref", "Site", "Stage", "Step", "Task", "Tower"]
__all__ += ["UsageError"]

_MODULES = {  # imported on first use, so that errors and field types need no torch
    "binding.wiring": ("Ref",),
    "contract.adapter": ("Adapter",),
    "contract.method": ("Method", "Stage", "Task"),
    "contract.step": ("Step",),
    "core.clip": ("Block", "Clip", "Site", "Tower"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
