"""Values for the fields of a dataclass, checked; errors are one line that names the key."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, get_origin

from pydantic import TypeAdapter, ValidationError

from methods.kit.core.errors import UsageError, unknown


def read_value(raw: str, key: str = "") -> Any:
    """Parse the right side of ``key=value``: as TOML if valid, else as a bare word.

    A run to start from is always a word: 12e4 may be the beginning of its id.
    """
    if key.endswith(".start"):
        return raw.strip("\"'")
    try:
        value = tomllib.loads(f"x = {raw}")["x"]
    except tomllib.TOMLDecodeError:
        return raw
    return value if isinstance(value, bool | int | float | str | list) else raw


def check_part(part: str, kind: type, values: Mapping[str, Any]) -> Any:
    """Return a dataclass from checked values. Raises UsageError that names ``part.field``."""
    known = tuple(f.name for f in fields(kind))
    for name in values:
        if name not in known:
            raise unknown(f"{part}.{name}", name, known)
    converted = {n: _converted(f"{part}.{n}", kind, v) for n, v in values.items()}
    try:
        return _adapter(kind).validate_json(json.dumps(converted), strict=True)
    except ValidationError as error:
        raise UsageError(_sentence(part, error, values)) from None


def _converted(key: str, kind: type, value: Any) -> Any:
    """Convert ``q,v`` to a list (of different words) and ``2`` to a word where a field is one."""
    expected_type = next(f.type for f in fields(kind) if f.name == key.rpartition(".")[2])
    if expected_type is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if get_origin(expected_type) is not tuple:
        return value
    if isinstance(value, str):
        value = [word.strip() for word in value.split(",") if word.strip()]
    words = [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
    twice = [word for word in words if words.count(word) > 1]
    if twice:
        raise UsageError(f"{key}: {twice[0]!r} is given twice")
    return value


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _sentence(part: str, error: ValidationError, values: Mapping[str, Any]) -> str:
    """Describe the first error in one line."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    got = values.get(name, first.get("input"))
    expected = {
        "int_type": "expected a whole number",
        "int_from_float": "expected a whole number",
        "float_type": "expected a number",
        "bool_type": "expected true or false",
        "string_type": "expected a word",
        "tuple_type": "expected a list",
    }.get(first["type"])
    if isinstance(got, float) and not math.isfinite(got):
        expected = "expected a finite number"
    if expected is None and first["type"] == "literal_error":
        words = str(first["ctx"]["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        wrong = str(first["input"])
        return str(unknown(f"{part}.{name} {wrong!r}", wrong, words))
    if expected is None:
        expected = str(first["msg"]).replace("Input should", "must").replace("input", "value")
    return f"{part}.{name}: {expected}, got {got!r}"
