"""Spaces that are generated for a method from the types and defaults of its fields.

whole numbers from 1 (Positive)   an eighth to eight times the default, log
numbers above 0 (Rate)            a tenth to ten times the default, log
numbers from 0 (Weight)           0 to twice the default, to 1 when that is 0
shares (0 to 1)                   0 to 1
dropout (0 to below 1)            0 to 0.5
true or false, one of some words  each of them
lists of words of two             one, the other, both
train.lr                          a tenth to ten times the method's own, log

Other fields (texts, pairs, longer lists) keep their defaults.
"""

import itertools
import types
import typing
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

import methods
from sweeps.space.definition import FIELDS, LEARNING_RATE, Space
from sweeps.space.dimension import Choice, Dimension, Range, choice_of

LR = "train.lr"
FACTORS = (1.0, 0.25, 0.5, 2.0, 4.0)  # on the method's learning rate, which is tried first
FIXED_GRID = [1e-3, 3e-4, 3e-3, 1e-4, 1e-2, 3e-2]


def generate_space(name: str, method: str, lr: float) -> Space:
    """Return a generated space for a method whose own learning rate is ``lr``."""
    if name == FIELDS:
        about = f"every field of {method} and its learning rate"
        return Space(name, method, about, {**_fields(method), LR: _around(lr)})
    if name == LEARNING_RATE:
        rates = [float(f"{lr * factor:.6g}") for factor in FACTORS]
        return Space(name, method, f"the learning rate of {method}", {LR: choice_of(rates)})
    about = f"the learning rate of {method}, on the grid of all methods"
    return Space(name, method, about, {LR: choice_of(FIXED_GRID)})


def _fields(method: str) -> dict[str, Dimension]:
    kind = methods.find(method)
    hints = get_type_hints(kind, include_extras=True)
    dims = {
        f"method.{name}": _dimension(hints[name], value) for name, value in vars(kind()).items()
    }
    return {name: dim for name, dim in dims.items() if dim is not None}


def _dimension(hint: Any, default: Any) -> Dimension | None:
    """Return the dimension of a field, or None where there is none."""
    origin = get_origin(hint)
    if origin in (typing.Union, types.UnionType):  # slice_size: a number or a pair
        dims = (_dimension(part, default) for part in get_args(hint))
        return next((dim for dim in dims if dim is not None), None)
    if origin is Annotated:
        base, *limits = get_args(hint)
        return _number(base, limits, default)
    if hint is bool:
        return choice_of([default, not default])
    if origin is Literal:
        return choice_of([default, *(w for w in get_args(hint) if w != default)])
    return _subsets(get_args(hint), default) if origin is tuple else None


def _number(base: Any, limits: list[Any], default: Any) -> Range | None:
    if isinstance(default, bool) or not isinstance(default, int | float):
        return None
    above_zero = any(isinstance(x, Gt) and x.gt == 0 for x in limits)
    if above_zero:
        if base is int:
            return Range(max(1, default // 8), default * 8, log=True)
        return _around(float(default)) if base is float else None
    if base is not float or not any(isinstance(x, Ge) and x.ge == 0 for x in limits):
        return None
    top = next((x.le for x in limits if isinstance(x, Le)), None)
    if top is not None:
        return Range(0.0, float(top))  # type: ignore[arg-type]
    below = any(isinstance(x, Lt) for x in limits)
    return Range(0.0, 0.5 if below else 2.0 * default or 1.0)


def _around(value: float) -> Range:
    return Range(float(f"{value / 10:.6g}"), float(f"{value * 10:.6g}"), log=True)


def _subsets(parts: tuple[Any, ...], default: Any) -> Choice | None:
    """Return the nonempty subsets of a list of at most two known words."""
    words = get_args(parts[0]) if parts and get_origin(parts[0]) is Literal else ()
    if not words or len(words) > 2:
        return None
    subsets = [list(c) for n in (1, 2) for c in itertools.combinations(words, n)]
    return choice_of(sorted(subsets, key=lambda subset: subset != list(default)))
