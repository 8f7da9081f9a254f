"""What a sweep can aim at or cap: recorded quantities with a known direction.

Nothing measured on the test split is among them.
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
    """A trial above the limit is refused before its first step."""

    name: str
    limit: float

    def __str__(self) -> str:
        return f"{self.name}={self.limit:g}"


def objectives(words: Sequence[str], protocol: Protocol) -> tuple[str, ...]:
    """One or two quantities; the protocol's headline on validation data by default."""
    known = DEFINITIONS[protocol]
    found = tuple(n for word in words for n in word.split(",") if n) or (known.validation,)
    for name in found:
        _check(name, (*known.validated, *KNOWN_BEFORE, *MEASURED))
    if len(found) > 2 or len(set(found)) < len(found):
        raise UsageError(f"--objective: one quantity or two different ones, got {', '.join(found)}")
    return found


def caps(words: Sequence[str]) -> tuple[Cap, ...]:
    """``params/trainable=50000``: limits on what is known before training."""
    found = []
    for word in words:
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
        found.append(Cap(name, limit))
    return tuple(found)


def direction(name: str) -> Direction:
    """Accuracies go up, everything else down."""
    return "maximize" if name.startswith("acc/") else "minimize"


def _check(name: str, known: Sequence[str]) -> None:
    if name in known:
        return
    if name.startswith(("acc/", "ece/")) and name not in VALIDATION:
        raise UsageError(
            f"--objective {name}: a sweep sees validation data only; say one of"
            f" {', '.join(n for n in known if n.startswith('acc/'))}"
        )
    raise unknown(f"--objective {name!r}", name, known)
