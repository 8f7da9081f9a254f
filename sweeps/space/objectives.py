"""Objectives and caps of a sweep: recorded quantities with a known direction.

None of them is measured on the test split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.spec.protocols import DEFINITIONS
from harness.spec.quantities import PARAMETER_COUNTS, VALIDATION
from harness.spec.spec import Protocol
from methods.kit.core.errors import UsageError, unknown

Direction = Literal["maximize", "minimize"]

KNOWN_BEFORE = PARAMETER_COUNTS
MEASURED = (
    "bytes/adapter",
    "time/train_seconds",
    "time/step_ms",
    "memory/peak_bytes",
    "flops/step",
)


@dataclass(frozen=True)
class Cap:
    """A limit on a parameter count: a trial above it is refused before its first step."""

    name: str
    limit: float

    def __str__(self) -> str:
        return f"{self.name}={self.limit:g}"


def read_objectives(words: Sequence[str], protocol: Protocol) -> tuple[str, ...]:
    """Read one or two quantities; the default is the protocol's main validation accuracy.

    Raises UsageError.
    """
    protocol_metrics = DEFINITIONS[protocol]
    names = tuple(n for word in words for n in word.split(",") if n) or (
        protocol_metrics.validation,
    )
    for name in names:
        _check(name, (*protocol_metrics.validated, *KNOWN_BEFORE, *MEASURED))
    if len(names) > 2 or len(set(names)) < len(names):
        raise UsageError(f"--objective: one quantity or two different ones, got {', '.join(names)}")
    return names


def read_caps(words: Sequence[str]) -> tuple[Cap, ...]:
    """Read limits such as ``params/trainable=50000``. Raises UsageError."""
    return tuple(map(_cap, words))


def direction(name: str) -> Direction:
    """Return the better direction: up for accuracies, down for everything else."""
    return "maximize" if name.startswith("acc/") else "minimize"


def _cap(word: str) -> Cap:
    name, equals, raw = word.partition("=")
    if not equals:
        raise UsageError(f"--cap {word!r}: expected QUANTITY=LIMIT, as params/trainable=50000")
    if name in MEASURED:
        raise UsageError(
            f"--cap {name}: known only after training; cap one of {', '.join(KNOWN_BEFORE)}"
        )
    if name not in KNOWN_BEFORE:
        raise unknown(f"--cap {name!r}", name, KNOWN_BEFORE)
    try:
        limit = float(raw.replace("_", ""))
    except ValueError:
        limit = -1
    if not 0 <= limit < float("inf"):
        raise UsageError(f"--cap {name}: expected a number from 0, got {raw!r}")
    return Cap(name, limit)


def _check(name: str, known: Sequence[str]) -> None:
    if name in known:
        return
    if name.startswith(("acc/", "ece/")) and name not in VALIDATION:
        raise UsageError(
            f"--objective {name}: a sweep sees validation data only; say one of"
            f" {', '.join(n for n in known if n.startswith('acc/'))}"
        )
    raise unknown(f"--objective {name!r}", name, known)
