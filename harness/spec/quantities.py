"""What a run records: the title, unit, direction and scale of each quantity."""

from dataclasses import dataclass
from typing import Literal

from methods.kit.core.errors import unknown

Direction = Literal["maximize", "minimize"]


def count_text(n: float) -> str:
    """Return 12.3k for 12,345; counts below a thousand stay as they are."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g}{unit}"
    return f"{n:.0f}"


@dataclass(frozen=True)
class Quantity:
    """A recorded number.

    ``log``: it spans decades, so figures show it on a logarithmic axis. ``label`` is the title of
    its table column, where that is shorter.
    """

    name: str
    title: str
    unit: str
    direction: Direction
    log: bool
    label: str = ""

    @property
    def axis(self) -> str:
        """The label of an axis: ``training time, s``."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def sign(self) -> int:
        """The factor that makes less better."""
        return 1 if self.direction == "minimize" else -1


def _cost(name: str, title: str, unit: str = "") -> Quantity:
    return Quantity(name, title, unit, "minimize", True)


def _accuracy(name: str, title: str, label: str = "") -> Quantity:
    return Quantity(name, title, "%", "maximize", False, label)


_COSTS = (
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
)
_SCORES = (
    _accuracy("acc/test", "accuracy", "accuracy"),
    _accuracy("acc/base", "base accuracy", "base"),
    _accuracy("acc/novel", "novel accuracy", "novel"),
    _accuracy("acc/hmean", "harmonic mean of base and novel accuracy", "H"),
    _accuracy("acc/targets", "mean accuracy on the targets", "targets"),
    _accuracy("acc/mean", "accuracy, mean", "mean"),
    _accuracy("acc/val", "validation accuracy"),
    _accuracy("acc/val_novel", "novel validation accuracy"),
    _accuracy("acc/val_hmean", "H on validation data"),
    Quantity("ece/test", "calibration error", "%", "minimize", False),
)
QUANTITIES = {q.name: q for q in (*_COSTS, *_SCORES)}
COSTS = tuple(q.name for q in _COSTS)
PARAMETER_COUNTS = COSTS[:4]  # known before training
VALIDATION = ("acc/val", "acc/val_novel", "acc/val_hmean")  # measured on validation images
HARMONIC_MEANS = {  # averaged apart over data sets, then put together
    "acc/hmean": ("acc/base", "acc/novel"),
    "acc/val_hmean": ("acc/val", "acc/val_novel"),
}


def find_quantity(name: str) -> Quantity:
    """Return the quantity of a name; any ``acc/PART`` is an accuracy.

    Raises UsageError for a name whose direction is unknown.
    """
    if name in QUANTITIES:
        return QUANTITIES[name]
    part = name.removeprefix("acc/")
    if part == name or not part:
        raise unknown(f"quantity {name!r}", name, QUANTITIES)
    return _accuracy(name, f"accuracy, {part}")


def axis_label(name: str) -> str:
    """Return the label of a metric's axis; the bare name of an unknown metric."""
    return QUANTITIES[name].axis if name in QUANTITIES else name
