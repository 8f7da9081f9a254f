"""The values that one key of a search space may take: a range of numbers, or choices."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from methods.kit.core.errors import UsageError, unknown

GRID_POINTS = 5  # grid values of a range of numbers without a step


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole numbers if both are."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def extremes(self) -> list[Any]:
        return [self.low, self.high]

    def nearest(self, value: Any) -> Any:
        """Return the value moved into the range, or the low end for what is not a number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.low
        return min(max(value, self.low), self.high)

    def grid(self) -> list[Any]:
        """Return the grid values: the steps, powers of two (whole numbers, log), or five values."""
        if self.whole and self.log:
            powers = [2**i for i in range(int(self.low).bit_length() - 1, 64)]
            return sorted({self.low, *(p for p in powers if self.low < p < self.high), self.high})
        if self.step or self.whole:
            step = self.step or 1
            count = int((self.high - self.low) / step + 1e-9) + 1
            return [self.low + i * step for i in range(count)]
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        inner = [low + (high - low) * i / (GRID_POINTS - 1) for i in range(1, GRID_POINTS - 1)]
        rounded = (float(f"{math.exp(x) if self.log else x:.4g}") for x in inner)
        return [self.low, *rounded, self.high]

    def coordinates(self, value: Any) -> list[float]:
        """Return the value's place in the unit interval."""
        return [_place(value, self.low, self.high, self.log)]

    def suggest(self, trial: Any, name: str) -> Any:
        """Return the value that Optuna's sampler suggests."""
        if self.whole:
            step = int(self.step or 1)
            return trial.suggest_int(name, int(self.low), int(self.high), step=step, log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def encode(self, value: Any) -> Any:
        """Return the value as Optuna stores it."""
        return value

    def decode(self, stored: Any) -> Any:
        """Return a stored value; numbers have four digits, to be read and typed."""
        return stored if self.whole else self.nearest(float(f"{stored:.4g}"))

    def __str__(self) -> str:
        kind = "log" if self.log else f"step {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}" + (f" ({kind})" if kind else "")


@dataclass(frozen=True)
class Choice:
    """One of several values, kept as JSON text: Optuna stores words and numbers, but no lists."""

    texts: tuple[str, ...]

    def extremes(self) -> list[Any]:
        return [json.loads(text) for text in self.texts]

    def nearest(self, value: Any) -> Any:
        """Return the value, or the first choice if the value is not a choice."""
        return value if json.dumps(value) in self.texts else json.loads(self.texts[0])

    def grid(self) -> list[Any]:
        return self.extremes()

    def coordinates(self, value: Any) -> list[float]:
        """Return the place of a number among numbers, or one coordinate for each other choice."""
        values = self.extremes()
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
            return [float(value == v) for v in values]
        return [_place(value, min(values), max(values), min(values) > 0)]

    def suggest(self, trial: Any, name: str) -> Any:
        return trial.suggest_categorical(name, self.texts)

    def encode(self, value: Any) -> Any:
        return json.dumps(value)

    def decode(self, stored: Any) -> Any:
        return json.loads(stored)

    def __str__(self) -> str:
        return ", ".join(self.texts)


Dimension = Range | Choice


def choice_of(values: list[Any]) -> Choice:
    return Choice(tuple(json.dumps(value) for value in values))


def read_dimension(where: str, table: Any) -> Dimension:
    """Read a dimension from its TOML table. Raises UsageError that begins with ``where``."""
    if not isinstance(table, dict):
        raise UsageError(f"{where}: expected {{ low, high }} or {{ choices }}, got {table!r}")
    kind = ("choices",) if "choices" in table else ("low", "high", "log", "step")
    allowed = (*kind, "when", "unless")
    for key in table:
        if key not in allowed:
            raise unknown(f"{where}: {key!r}", key, allowed)
    return _choice(where, table["choices"]) if "choices" in table else _range(where, table)


def _choice(where: str, values: Any) -> Choice:
    if not isinstance(values, list) or not values:
        raise UsageError(f"{where}: choices must be a list with something in it")
    choice = choice_of(values)
    if len(set(choice.texts)) < len(values):
        raise UsageError(f"{where}: a choice is given twice")
    return choice


def _range(where: str, table: Mapping[str, Any]) -> Range:
    low, high = _number(where, "low", table.get("low")), _number(where, "high", table.get("high"))
    log, step = table.get("log", False), table.get("step")
    if not isinstance(log, bool):
        raise UsageError(f"{where}: log: expected true or false, got {log!r}")
    if low > high:
        raise UsageError(f"{where}: low {low:g} is above high {high:g}")
    if low == high:
        raise UsageError(
            f"{where}: the range from {low:g} to {high:g} is empty; fix the key instead"
        )
    if log and low <= 0:
        raise UsageError(f"{where}: a log range starts above 0, not at {low:g}")
    if log and step is not None:
        raise UsageError(f"{where}: a log range has no step")
    if step is not None and not 0 < _number(where, "step", step) <= high - low:
        raise UsageError(f"{where}: step {step:g} does not fit between {low:g} and {high:g}")
    if isinstance(low, int) != isinstance(high, int):
        low, high = float(low), float(high)
    return Range(low, high, log, step)


def _number(where: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise UsageError(f"{where}: {name}: expected a number, got {value!r}")
    return value


def _place(value: float, low: float, high: float, log: bool) -> float:
    if low == high:
        return 0.0
    if log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)
