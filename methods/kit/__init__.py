"""What a method is written with: ``from methods.kit import Adapter, Clip, Method, Task``.

Parts that several methods share are in ``methods.kit.parts`` and ``methods.kit.ring``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from methods.kit.core.errors import UsageError
from methods.kit.core.field_types import (
    BOTH_TOWERS,
    Activation,
    Dropout,
    Fraction,
    LinearSite,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    TowerName,
)

if TYPE_CHECKING:
    from methods.kit.binding.wiring import Ref
    from methods.kit.contract.adapter import Adapter
    from methods.kit.contract.method import Method, Stage, Task
    from methods.kit.contract.step import Step
    from methods.kit.core.clip import Block, Clip, Site, Tower

__all__ = [
    "BOTH_TOWERS",
    "Activation",
    "Adapter",
    "Block",
    "Clip",
    "Dropout",
    "Fraction",
    "LinearSite",
    "Method",
    "NonNegativeFloat",
    "NonNegativeInt",
    "PositiveFloat",
    "PositiveInt",
    "Ref",
    "Site",
    "Stage",
    "Step",
    "Task",
    "Tower",
    "TowerName",
    "UsageError",
]

# Names that need torch: imported on first use, so that errors and field types load without it.
_MODULES = {
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
