"""A search space: spec keys and their possible values, from a TOML file.

about = "what is searched"
method = "lora"

[space]
"method.rank" = { low = 1, high = 16, log = true }     # whole numbers
"train.lr" = { low = 1e-4, high = 1e-2, log = true }   # numbers
"method.rslora" = { choices = [true, false] }          # any values of the key, also lists

Each may have a condition (sweeps/space/condition.py). A key that has other values under other
conditions stands several times, each time with a label of its own after "@".
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from methods.kit.core.errors import UsageError, unknown
from sweeps.space.condition import Condition, read_condition
from sweeps.space.dimension import Choice, Dimension, read_dimension

PRESETS = files("sweeps") / "space" / "presets"
FIELDS = "fields"
LEARNING_RATE = "learning_rate"
LEARNING_RATE_GRID = "learning_rate_grid"
GENERATED = {  # spaces that are generated for any method: their keys, what they are
    FIELDS: ("its fields, train.lr", "a space made from a method's fields"),
    LEARNING_RATE: (
        "train.lr",
        "five learning rates a factor of two apart, around the method's own",
    ),
    LEARNING_RATE_GRID: (
        "train.lr",
        "six learning rates a factor of three apart, 0.0001 to 0.03, the same for every method",
    ),
}


@dataclass(frozen=True)
class Space:
    """The search space of one method: dimensions by name (a spec key, perhaps with a label)."""

    name: str
    method: str
    about: str
    dims: dict[str, Dimension]
    conditions: dict[str, Condition] = field(default_factory=dict)  # by the name of a dimension

    @property
    def keys(self) -> list[str]:
        """The spec keys that are searched, each once."""
        return list(dict.fromkeys(map(key_of, self.dims)))

    def condition(self, name: str) -> Condition:
        return self.conditions.get(name, Condition())

    def without(self, keys: Mapping[str, Any]) -> "Space":
        """Return the space with these keys fixed. Raises UsageError when nothing is left."""
        return self._only({n: d for n, d in self.dims.items() if key_of(n) not in keys})

    def under(self, values: Mapping[str, Any]) -> "Space":
        """Return the space without what is never searched when other keys have these values."""
        possible: dict[str, list[Any] | None] = {key: [value] for key, value in values.items()}
        left: dict[str, Dimension] = {}
        for name, dim in self.dims.items():
            if self.condition(name).may_hold(possible):
                left[name] = dim
                known = possible.get(key_of(name))  # an unknown key is reported later
                more = dim.extremes() if isinstance(dim, Choice) else None
                possible[key_of(name)] = None if known is None or more is None else known + more
        return self._only(left)

    def as_dict(self) -> dict[str, str]:
        """Return the possible values of each key, with their conditions, as text."""
        texts: dict[str, list[str]] = {}
        for name, dim in self.dims.items():
            rule = str(self.condition(name))
            texts.setdefault(key_of(name), []).append(f"{dim}; {rule}" if rule else str(dim))
        return {key: " | ".join(parts) for key, parts in texts.items()}

    def grids(self) -> dict[str, list[Any]]:
        """Return the grid values of each key."""
        grids: dict[str, list[Any]] = {}
        for name, dim in self.dims.items():
            known = grids.setdefault(key_of(name), [])
            known += [value for value in dim.grid() if value not in known]
        return grids

    def _only(self, dims: dict[str, Dimension]) -> "Space":
        if not dims:
            raise UsageError(f"space {self.name!r}: every key of it is fixed, nothing to search")
        return replace(self, dims=dims)


def key_of(name: str) -> str:
    """Return the spec key of a dimension: its name without the label."""
    return name.partition("@")[0]


@cache
def space_names() -> tuple[str, ...]:
    """Return the names of the shipped spaces and of those that are generated for any method."""
    names = [file.name for file in PRESETS.iterdir()]
    stems = [name.removesuffix(".toml") for name in names if name.endswith(".toml")]
    return tuple(sorted([*stems, *GENERATED]))


def check_space_name(name: str) -> None:
    """Raise UsageError for a name that is neither a space nor a TOML file."""
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise UsageError(f"{name}: no such file")
    elif name not in space_names():
        raise unknown(f"space {name!r}", name, space_names())


def load_space(name: str) -> Space:
    """Load a shipped space by its name, or any by the path of its TOML file.

    Raises UsageError in one line.
    """
    check_space_name(name)
    if name.endswith(".toml"):
        return parse_space(Path(name).stem, Path(name).read_text())
    return parse_space(name, (PRESETS / f"{name}.toml").read_text())


def parse_space(name: str, text: str) -> Space:
    """Parse a space from TOML. Raises UsageError that names the key."""
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
    where = {key: f"space {name!r}: {key}" for key in dims}
    return Space(
        name,
        table["method"],
        str(table.get("about", "")),
        {key: read_dimension(where[key], value) for key, value in dims.items()},
        {key: read_condition(where[key], value) for key, value in dims.items()},
    )
