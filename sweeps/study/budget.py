"""The budget of a sweep: a number of trials, or the time that trials take."""

import re
from dataclasses import dataclass

from methods.kit.core.errors import UsageError

TRIALS = 40  # the default


@dataclass(frozen=True)
class Budget:
    """So many trials, or so many seconds of trials.

    Trials above a cap or with impossible settings cost nothing and are not counted.
    """

    trials: int | None = None
    seconds: float | None = None

    def is_spent(self, trials: int, seconds: float) -> bool:
        if self.trials is not None:
            return trials >= self.trials
        return seconds >= (self.seconds or 0)

    def __str__(self) -> str:
        return f"{self.trials} trials" if self.trials else f"{(self.seconds or 0) / 60:g} minutes"


def read_budget(text: str) -> Budget:
    """Read ``30`` (trials), ``20m`` or ``2h`` (of trials). Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mh]?)", text.strip())
    amount = float(match[1]) if match else 0.0
    if match and match[2] and amount > 0:
        return Budget(seconds=amount * {"m": 60, "h": 3600}[match[2]])
    if match and amount >= 1 and "." not in match[1]:
        return Budget(trials=int(amount))
    raise UsageError(f"--budget {text!r}: expected trials or time, as 30, 20m or 2h")
