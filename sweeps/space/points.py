"""Settings of a space: which of its keys are searched, all points of a grid, points of a cube.

``usual`` is what every key is where it is not searched; conditions look there, too.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sweeps.space.definition import Dim, Range, Space, key_of

Values = dict[str, Any]  # by spec key
ValueOf = Callable[[str, Dim], Any]  # of a dimension by name


def walk(space: Space, usual: Mapping[str, Any], value_of: ValueOf) -> Values:
    """Values by key: what ``value_of`` gives for each dimension that is searched, given the values
    of those before it."""
    values: Values = {}
    for name, dim in space.dims.items():
        if space.condition(name).holds({**usual, **values}):
            values[key_of(name)] = value_of(name, dim)
    return values


def searched(space: Space, usual: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """Values by the names of the dimensions that they are from."""
    found: dict[str, Any] = {}

    def keep(name: str, dim: Dim) -> Any:
        found[name] = values[key_of(name)]
        return found[name]

    walk(space, usual, keep)
    return found


def nearest(source: Mapping[str, Any], name: str, dim: Dim) -> Any:
    """The value of a source, moved into a dimension."""
    return dim.nearest(source[key_of(name)])


def grid_points(space: Space, usual: Mapping[str, Any]) -> Iterator[Values]:
    """Every point of the grid, each once."""
    return _points(space, usual, {}, list(space.dims))


def _points(
    space: Space, usual: Mapping[str, Any], values: Values, names: list[str]
) -> Iterator[Values]:
    if not names:
        yield values
        return
    first, *rest = names
    if not space.condition(first).holds({**usual, **values}):
        yield from _points(space, usual, values, rest)
        return
    for value in space.dims[first].grid():
        yield from _points(space, usual, {**values, key_of(first): value}, rest)


def unit(space: Space, usual: Mapping[str, Any], values: Values) -> tuple[float, ...]:
    """Settings in the unit cube; words become one coordinate each, and what is not searched lies
    in the middle."""
    there = searched(space, usual, values)
    return tuple(
        x
        for name, dim in space.dims.items()
        for x in (coordinates(dim, there[name]) if name in there else middle(dim))
    )


def coordinates(dim: Dim, value: Any) -> list[float]:
    """A value in the unit interval, or one coordinate a choice where choices are not numbers."""
    if isinstance(dim, Range):
        return [_place(value, dim.low, dim.high, dim.log)]
    values = dim.edges()
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values):
        low, high = min(numbers), max(numbers)
        return [_place(value, low, high, low > 0)]
    return [float(value == v) for v in values]


def middle(dim: Dim) -> list[float]:
    """As many coordinates as a value has, for no value."""
    return [0.5] * len(coordinates(dim, dim.edges()[0]))


def _place(value: float, low: float, high: float, log: bool) -> float:
    if low == high:
        return 0.0
    if log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)
