"""Points of a space: the keys that are searched in a trial, grids, and the unit cube.

``defaults`` holds the value of every key where it is not searched; conditions test these too.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sweeps.space.definition import Space, key_of
from sweeps.space.dimension import Dimension

Values = dict[str, Any]  # by spec key
ValueOf = Callable[[str, Dimension], Any]  # from the name of a dimension


def searched(
    space: Space, defaults: Mapping[str, Any], value_of: ValueOf
) -> Iterator[tuple[str, Any]]:
    """Yield the names and values of the dimensions whose conditions the earlier values meet."""
    values = dict(defaults)
    for name, dim in space.dims.items():
        if space.condition(name).holds(values):
            values[key_of(name)] = value_of(name, dim)
            yield name, values[key_of(name)]


def by_dimension(space: Space, defaults: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """Return values by the names of the dimensions that they come from."""
    return dict(searched(space, defaults, lambda name, _: values[key_of(name)]))


def grid_points(space: Space, defaults: Mapping[str, Any]) -> Iterator[Values]:
    """Yield every point of the grid once."""

    def extend(values: Values, names: list[str]) -> Iterator[Values]:
        if not names:
            yield values
            return
        first, *rest = names
        searched = space.condition(first).holds({**defaults, **values})
        choices = [{key_of(first): v} for v in space.dims[first].grid()] if searched else [{}]
        for choice in choices:
            yield from extend({**values, **choice}, rest)

    return extend({}, list(space.dims))


def unit_cube(space: Space, defaults: Mapping[str, Any], values: Values) -> tuple[float, ...]:
    """Return settings as coordinates from 0 to 1; a key that is not searched lies in the middle.

    Choices that are not numbers have one coordinate each.
    """
    named = by_dimension(space, defaults, values)
    place: list[float] = []
    for name, dim in space.dims.items():
        if name in named:
            place += dim.coordinates(named[name])
        else:
            place += [0.5] * len(dim.coordinates(dim.extremes()[0]))
    return tuple(place)
