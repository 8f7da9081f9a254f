"""A search space: spec keys and what each may be, from a TOML file or a method's field types.

about = "what is searched"
method = "lora"

[space]
"method.rank" = { low = 1, high = 16, log = true }     # whole numbers
"train.lr" = { low = 1e-4, high = 1e-2, log = true }   # numbers
"method.rslora" = { choices = [true, false] }          # any values of the key, also lists

Any of them may have a condition (sweeps/space/condition.py). Where a key has other values under
other conditions, it stands several times, each with a label of its own behind "@".
"""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from methods.kit.core.errors import UsageError, unknown
from sweeps.space import condition
from sweeps.space.condition import ALWAYS, Condition

FIELDS = "fields"  # the space made from a method's own fields
RATE = "learning_rate"  # the learning rate alone, of any method
WIDE = "learning_rate_grid"  # the same rates for every method
MADE = {  # spaces that are made for the method they are asked for: their keys, what they are
    FIELDS: ("its fields, train.lr", "a space made from a method's fields"),
    RATE: ("train.lr", "five rates a factor of two apart, around the method's own"),
    WIDE: (
        "train.lr",
        "six rates a factor of three apart, 0.0001 to 0.03, whatever the method's own",
    ),
}
GRID_POINTS = 5  # of a range of numbers without a step, in a grid


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole ones when both are."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def edges(self) -> list[Any]:
        return [self.low, self.high]

    def nearest(self, value: Any) -> Any:
        """The value itself, moved into the range; the low end for what is no number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.low
        return min(max(value, self.low), self.high)

    def grid(self) -> list[Any]:
        """The points of a grid: the steps; powers of two of whole numbers; else five, spaced."""
        if self.whole and self.log:
            powers = [2**i for i in range(int(self.low).bit_length() - 1, 64)]
            inside = [p for p in powers if self.low < p < self.high]
            return sorted({int(self.low), *inside, int(self.high)})
        if self.step or self.whole:
            step = self.step or 1
            count = int((self.high - self.low) / step + 1e-9) + 1
            return [self.low + i * step for i in range(count)]
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        inner = [low + (high - low) * i / (GRID_POINTS - 1) for i in range(1, GRID_POINTS - 1)]
        return [
            self.low,
            *(float(f"{math.exp(x) if self.log else x:.4g}") for x in inner),
            self.high,
        ]

    def __str__(self) -> str:
        kind = "log" if self.log else f"step {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}" + (f" ({kind})" if kind else "")


@dataclass(frozen=True)
class Choice:
    """One of some values, kept as JSON text: Optuna stores words and numbers, not lists."""

    texts: tuple[str, ...]

    def edges(self) -> list[Any]:
        return [json.loads(t) for t in self.texts]

    def nearest(self, value: Any) -> Any:
        """The value itself, or the first choice when it is none of them."""
        return value if json.dumps(value) in self.texts else json.loads(self.texts[0])

    def grid(self) -> list[Any]:
        return self.edges()

    def __str__(self) -> str:
        return ", ".join(self.texts)


Dim = Range | Choice


@dataclass(frozen=True)
class Space:
    """What is searched for one method: dimensions by name, a full spec key, with its label."""

    name: str
    method: str
    about: str
    dims: dict[str, Dim]
    conditions: dict[str, Condition] = field(default_factory=dict)  # by the name of a dimension

    @property
    def keys(self) -> list[str]:
        """The spec keys that are searched, each once."""
        return list(dict.fromkeys(map(key_of, self.dims)))

    def condition(self, name: str) -> Condition:
        return self.conditions.get(name, ALWAYS)

    def without(self, keys: Mapping[str, Any]) -> "Space":
        """The space with these keys fixed. Raises UsageError when nothing is left."""
        return self._only({n: d for n, d in self.dims.items() if key_of(n) not in keys})

    def under(self, values: Mapping[str, Any]) -> "Space":
        """The space without what can never be searched where other keys have these values."""
        possible: dict[str, list[Any] | None] = {key: [value] for key, value in values.items()}
        left: dict[str, Dim] = {}
        for name, dim in self.dims.items():
            if self.condition(name).may_hold(possible):
                left[name] = dim
                known = possible.get(key_of(name))  # None also for a key that is none; told later
                more = dim.edges() if isinstance(dim, Choice) else None
                possible[key_of(name)] = None if known is None or more is None else known + more
        return self._only(left)

    def as_dict(self) -> dict[str, str]:
        """What each key may be, and when, as text."""
        said: dict[str, list[str]] = {}
        for name, dim in self.dims.items():
            rule = str(self.condition(name))
            said.setdefault(key_of(name), []).append(f"{dim}; {rule}" if rule else str(dim))
        return {key: " | ".join(texts) for key, texts in said.items()}

    def grids(self) -> dict[str, list[Any]]:
        """Every grid value of each key."""
        found: dict[str, list[Any]] = {}
        for name, dim in self.dims.items():
            known = found.setdefault(key_of(name), [])
            known += [value for value in dim.grid() if value not in known]
        return found

    def _only(self, dims: dict[str, Dim]) -> "Space":
        if not dims:
            raise UsageError(f"space {self.name!r}: every key of it is fixed, nothing to search")
        return replace(self, dims=dims)


def key_of(name: str) -> str:
    """The spec key of a dimension: its name without a label."""
    return name.partition("@")[0]


def names() -> tuple[str, ...]:
    """The spaces that come with the package, and those that are made for any method."""
    folder = files("sweeps") / "space" / "presets"
    stems = [f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")]
    return tuple(sorted([*stems, *MADE]))


def load(name: str) -> Space:
    """A space by name, or by the path of a TOML file. Raises UsageError in one line."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"{name}: no such file")
        return parse(path.stem, path.read_text())
    if name not in names() or name in MADE:
        raise unknown(f"space {name!r}", name, names())
    return parse(name, (files("sweeps") / "space" / "presets" / f"{name}.toml").read_text())


def parse(name: str, text: str) -> Space:
    """A space from TOML. Raises UsageError that names the key."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"space {name!r}: not TOML: {error}") from None
    for key in table:
        if key not in ("about", "method", "space"):
            raise unknown(f"space {name!r}: {key!r}", key, ("about", "method", "space"))
    dims = table.get("space")
    if not isinstance(dims, dict) or not dims:
        raise UsageError(f"space {name!r}: the table [space] is missing or empty")
    if not isinstance(table.get("method"), str):
        raise UsageError(f'space {name!r}: say method = "NAME"')
    read = {key: _dim(f"space {name!r}: {key}", value) for key, value in dims.items()}
    rules = {key: condition.read(f"space {name!r}: {key}", value) for key, value in dims.items()}
    return Space(name, table["method"], str(table.get("about", "")), read, rules)


def _dim(where: str, table: Any) -> Dim:
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
    texts = tuple(json.dumps(v) for v in values)
    if len(set(texts)) < len(texts):
        raise UsageError(f"{where}: a choice is given twice")
    return Choice(texts)


def _range(where: str, table: Mapping[str, Any]) -> Range:
    low, high = table.get("low"), table.get("high")
    log, step = table.get("log", False), table.get("step")
    for name, value in (("low", low), ("high", high), ("step", 1 if step is None else step)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
            raise UsageError(f"{where}: {name}: expected a number, got {value!r}")
    if not isinstance(log, bool):
        raise UsageError(f"{where}: log: expected true or false, got {log!r}")
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
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
    if step is not None and not 0 < step <= high - low:
        raise UsageError(f"{where}: step {step:g} does not fit between {low:g} and {high:g}")
    if isinstance(low, int) != isinstance(high, int):
        low, high = float(low), float(high)
    return Range(low, high, log, step)
