"""What a run records and can be compared by: each quantity's title, unit, direction and scale."""

from dataclasses import dataclass
from typing import Literal

from methods.kit.core.errors import unknown


def count_text(n: float) -> str:
    """12,345 -> 12.3k; counts below a thousand stay as they are."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g}{unit}"
    return f"{n:.0f}"


Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Quantity:
    """A recorded number. ``log``: it spans decades, so pictures show it on a logarithmic axis."""

    name: str
    title: str
    unit: str
    direction: Direction
    log: bool

    @property
    def axis(self) -> str:
        """What stands at an axis: ``training time, s``."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def sign(self) -> int:
        """Times this, less is better."""
        return 1 if self.direction == "minimize" else -1


def _cost(name: str, title: str, unit: str = "") -> Quantity:
    return Quantity(name, title, unit, "minimize", True)


def _accuracy(name: str, title: str) -> Quantity:
    return Quantity(name, title, "%", "maximize", False)


QUANTITIES = {
    q.name: q
    for q in (
        _cost("params/trainable", "trainable parameters"),
        _cost("params/stored", "stored parameters"),
        _cost("params/inference", "parameters at inference"),
        _cost("params/head", "parameters of the head"),
        _cost("bytes/adapter", "adapter file", "bytes"),
        _cost("time/train_seconds", "training time", "s"),
        _cost("time/source_seconds", "training time of the source", "s"),
        _cost("time/start_seconds", "time of the decomposition", "s"),
        _cost("time/step_ms", "time a step", "ms"),
        _cost("memory/peak_bytes", "peak memory", "bytes"),
        _cost("flops/step", "operations a step"),
        _accuracy("acc/test", "accuracy"),
        _accuracy("acc/base", "base accuracy"),
        _accuracy("acc/novel", "novel accuracy"),
        _accuracy("acc/hmean", "harmonic mean of base and novel accuracy"),
        _accuracy("acc/targets", "mean accuracy on the targets"),
        _accuracy("acc/val", "validation accuracy"),
        _accuracy("acc/val_novel", "novel validation accuracy"),
        _accuracy("acc/val_hmean", "H on validation data"),
        Quantity("ece/test", "calibration error", "%", "minimize", False),
    )
}


def find_quantity(name: str) -> Quantity:
    """The quantity of a name; accuracies of test parts (``acc/TARGET``) have no table.

    Raises UsageError for a name without known direction.
    """
    if name in QUANTITIES:
        return QUANTITIES[name]
    part = name.removeprefix("acc/")
    if part == name or not part:
        raise unknown(f"quantity {name!r}", name, QUANTITIES)
    return _accuracy(name, f"accuracy, {part}")


def axis_label(name: str) -> str:
    """What stands at the axis of a metric; its bare name where nothing is known about it."""
    return QUANTITIES[name].axis if name in QUANTITIES else name
