"""From a preset and ``key=value`` words to a checked `Spec`; errors name the key.

Later wins: field defaults < preset < the method's recipe < settings tuned for the backbone < the
data set's own shots < what the user says.
"""

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, get_origin

from pydantic import TypeAdapter, ValidationError

import methods
from harness.datasets import content_of, defaults_of
from harness.spec import (
    PROTOCOLS,
    BackboneSpec,
    DataSpec,
    Spec,
    TrainSpec,
    field_names,
)
from methods import Method
from methods.kit.errors import UsageError, unknown

Values = dict[str, Any]

SHORT = {"method": "method.name", "data": "data.name", "backbone": "backbone.name"}
SHORT |= {"shots": "data.shots", "pretrained": "backbone.pretrained"}
PARTS: dict[str, type] = {"backbone": BackboneSpec, "data": DataSpec, "train": TrainSpec}


def build(preset: str, words: Iterable[str] = ()) -> Spec:
    """The Spec that a preset and ``key=value`` words describe. Raises UsageError in one line."""
    return resolve(preset, parse(words))


def parse(words: Iterable[str]) -> Values:
    """``["method.rank=4"]`` to ``{"method.rank": 4}``: full keys, right sides read as TOML."""
    values: Values = {}
    for word in words:
        key, equals, raw = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{word!r}: expected key=value, such as method.rank=4")
        key = SHORT.get(key, key)
        if key in values:
            raise UsageError(f"{key}: given twice")
        values[key] = read_value(raw)
    return values


def read_value(raw: str) -> Any:
    """The right side of ``key=value``: TOML where it is TOML, else the bare word itself."""
    try:
        value = tomllib.loads(f"x = {raw}")["x"]
    except tomllib.TOMLDecodeError:
        return raw
    return value if isinstance(value, bool | int | float | str | list) else raw


def resolve(preset: str, given: Mapping[str, Any]) -> Spec:
    """The Spec for full keys and values already read."""
    values = _flat(_preset(preset))
    name = given.get("method.name", values.get("method.name"))
    if name is None:
        raise UsageError(f"method: missing; say method=NAME, one of {', '.join(methods.names())}")
    kind = methods.find(str(name))
    backbone = str(given.get("backbone.name", values.get("backbone.name", BackboneSpec.name)))
    data = str(given.get("data.name", values.get("data.name", DataSpec.name)))
    values |= kind.recipe
    values |= tuned(backbone, str(name))
    values |= {f"data.{k}": v for k, v in defaults_of(data).items()}
    values |= given
    values.setdefault("data.content", content_of(data, str(given.get("data.root", ""))))
    values.pop("method.name", None)
    return _checked(kind, values)


def tuned(backbone: str, method: str) -> Values:
    """Settings found on validation data for a backbone, from presets/tuned.toml."""
    found: Values = {}
    for pattern, table in _load("tuned").items():
        if fnmatchcase(backbone, pattern):
            found |= _flat(table.get("all", {}))
            found |= _flat(table.get(method, {}))
    return found


def presets() -> tuple[str, ...]:
    """The names that may follow ``ringbench run``."""
    folder = files("harness") / "presets"
    names = (f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
    return tuple(sorted(set(names) - {"tuned"}))


def describe(preset: str) -> str:
    """The one line that says what a preset is."""
    return str(_preset(preset).get("about", ""))


def from_dict(stored: Mapping[str, Any]) -> Spec:
    """The Spec of a stored ``as_dict()``."""
    values = _flat(dict(stored))
    return _checked(methods.find(values.pop("method.name")), values)


# --- checking --------------------------------------------------------------------------------


def _checked(kind: type[Method], values: Values) -> Spec:
    protocol = values.pop("protocol", None)
    if protocol not in PROTOCOLS:
        raise unknown(f"protocol {protocol!r}", str(protocol), PROTOCOLS)
    seed = values.pop("seed", 1)
    tables: dict[str, Values] = {"method": {}, **{part: {} for part in PARTS}}
    for key, value in values.items():
        part, dot, name = key.partition(".")
        if part not in tables or not dot:
            raise unknown(key, key, _all_keys(kind))
        tables[part][name] = value
    parts = {part: check_part(part, cls, tables[part]) for part, cls in PARTS.items()}
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise UsageError(f"seed: expected a whole number from 0 to 2^32 - 1, got {seed!r}")
    return Spec(protocol, check_part("method", kind, tables["method"]), seed=seed, **parts)


def check_part(part: str, kind: type, values: Values) -> Any:
    """A dataclass from values, each checked. Raises UsageError that names ``part.field``."""
    known = field_names(kind)
    for name in values:
        if name not in known:
            raise unknown(f"{part}.{name}", name, known)
    as_meant = {n: _meant(f"{part}.{n}", kind, v) for n, v in values.items()}
    try:
        return _adapter(kind).validate_json(json.dumps(as_meant), strict=True)
    except ValidationError as error:
        raise UsageError(_sentence(part, error, values)) from None


def _meant(key: str, kind: type, value: Any) -> Any:
    """``q,v`` means a list where a field is one (of different words), ``2`` a word where it is."""
    wanted = next(f.type for f in fields(kind) if f.name == key.rpartition(".")[2])
    if wanted is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if get_origin(wanted) is not tuple:
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


def _sentence(part: str, error: ValidationError, values: Values) -> str:
    """One line for the first thing that is wrong."""
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


def _all_keys(kind: type[Method]) -> list[str]:
    keys = [f"{part}.{name}" for part, cls in PARTS.items() for name in field_names(cls)]
    return [*keys, *(f"method.{n}" for n in field_names(kind)), *SHORT, "seed"]


# --- files -----------------------------------------------------------------------------------


def _preset(name: str) -> Values:
    if name not in presets():
        raise unknown(f"preset {name!r}", name, presets())
    return dict(_load(name))


@cache
def _load(name: str) -> Mapping[str, Any]:
    text = (files("harness") / "presets" / f"{name}.toml").read_text()
    return tomllib.loads(text)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Values:
    flat: Values = {}
    for key, value in table.items():
        if key == "about":
            continue
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
