"""A space made from the types of a method's fields, around the values it has by default.

whole numbers from 1 (Positive)   an eighth to eight times the default, log
numbers above 0 (Rate)            a tenth to ten times the default, log
numbers from 0 (Weight)           0 to twice the default, to 1 when that is 0
shares (0 to 1)                   0 to 1
dropout (0 to below 1)            0 to 0.5
true or false, one of some words  each of them
lists of words of two             one, the other, both
train.lr                          a tenth to ten times the method's own, log

Other fields (texts, pairs, longer lists) stay at their defaults.
"""

import itertools
import json
import types
import typing
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

import methods
from sweeps.space.definition import FIELDS, RATE, WIDE, Choice, Dim, Range, Space

LR = "train.lr"
STEPS = (1.0, 0.25, 0.5, 2.0, 4.0)  # of the usual rate, which is tried first
RATES = (1e-3, 3e-4, 3e-3, 1e-4, 1e-2, 3e-2)


def space(method: str, lr: float) -> Space:
    """The space of all of a method's fields that have one, and its learning rate."""
    kind = methods.find(method)
    default = kind()
    hints = get_type_hints(kind, include_extras=True)
    dims: dict[str, Dim] = {}
    for name in vars(default):
        dim = _dim(hints[name], getattr(default, name))
        if dim is not None:
            dims[f"method.{name}"] = dim
    dims[LR] = _around(lr)
    return Space(FIELDS, method, f"every field of {method} and its learning rate", dims)


def rate(method: str, lr: float) -> Space:
    """The learning rate alone: five rates, a factor of two apart, around the usual one."""
    rates = [float(f"{lr * step:.6g}") for step in STEPS]
    return Space(RATE, method, f"the learning rate of {method}", {LR: _choices(rates)})


def made(wanted: str, method: str, lr: float) -> Space:
    """One of the spaces that are made for a method whose own rate is ``lr``."""
    if wanted == WIDE:
        about = f"the learning rate of {method}, on the grid of all methods"
        return Space(WIDE, method, about, {LR: _choices(list(RATES))})
    return space(method, lr) if wanted == FIELDS else rate(method, lr)


def _dim(hint: Any, default: Any) -> Dim | None:
    """The dimension of a field; None where there is none."""
    origin = get_origin(hint)
    if origin in (typing.Union, types.UnionType):  # slice_size: a number or a pair
        return next(
            (d for d in (_dim(part, default) for part in get_args(hint)) if d is not None), None
        )
    if origin is Annotated:
        base, *limits = get_args(hint)
        return _number(base, limits, default)
    if hint is bool:
        return _choices([default, not default])
    if origin is Literal:
        return _choices([default, *(w for w in get_args(hint) if w != default)])
    if origin is tuple:
        return _subsets(get_args(hint), default)
    return None


def _number(base: Any, limits: list[Any], default: Any) -> Dim | None:
    if isinstance(default, bool) or not isinstance(default, int | float):
        return None
    above = any(isinstance(x, Gt) and x.gt == 0 for x in limits)
    from_zero = any(isinstance(x, Ge) and x.ge == 0 for x in limits)
    top = next((x.le for x in limits if isinstance(x, Le)), None)
    if base is int and above:
        return Range(max(1, default // 8), default * 8, log=True)
    if base is float and from_zero and top is not None:
        return Range(0.0, float(top))  # type: ignore[arg-type]
    if base is float and from_zero and any(isinstance(x, Lt) for x in limits):
        return Range(0.0, 0.5)
    if base is float and from_zero:
        return Range(0.0, 2.0 * default or 1.0)
    return _around(float(default)) if base is float and above else None


def _around(value: float) -> Range:
    return Range(float(f"{value / 10:.6g}"), float(f"{value * 10:.6g}"), log=True)


def _choices(values: list[Any]) -> Choice:
    return Choice(tuple(json.dumps(v) for v in values))


def _subsets(parts: tuple[Any, ...], default: Any) -> Choice | None:
    """Nonempty subsets of a list of at most two known words."""
    words = get_args(parts[0]) if parts and get_origin(parts[0]) is Literal else ()
    if not words or len(words) > 2:
        return None
    found = [list(c) for n in (1, 2) for c in itertools.combinations(words, n)]
    found.sort(key=lambda c: c != list(default))
    return _choices(found)
