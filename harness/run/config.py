"""Builds a checked `Spec` from a preset and ``key=value`` words; errors name the key.

Later wins: field defaults < preset < the method's recipe < settings tuned for the backbone < the
data set's own shots < the words.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import methods
from harness.data import multi_task_sets
from harness.data.public_sets import canonical_name
from harness.data.registry import content_hash, default_settings, set_collections
from harness.run.catalogue import method_settings
from harness.spec.protocols import check_data_settings as check_protocol
from harness.spec.spec import (
    MULTI_TASK,
    PROTOCOLS,
    BackboneSpec,
    DataSpec,
    Spec,
    TrainSpec,
    field_names,
)
from methods.kit.core.errors import UsageError, unknown
from methods.kit.core.field_values import check_part, read_value

if TYPE_CHECKING:
    from methods.kit import Method

__all__ = ["build", "check_part", "describe", "from_dict", "parse", "presets", "read_value"]
__all__ += ["resolve", "tuned"]

Values = dict[str, Any]

SHORT = {"method": "method.name", "data": "data.name", "backbone": "backbone.name"}
SHORT |= {"shots": "data.shots", "pretrained": "backbone.pretrained"}
HOST = "method.host"
PARTS: dict[str, type] = {"backbone": BackboneSpec, "data": DataSpec, "train": TrainSpec}


def build(preset: str, words: Iterable[str] = ()) -> Spec:
    """Return the Spec of a preset and ``key=value`` words. Raises UsageError in one line."""
    return resolve(preset, parse(words))


def parse(words: Iterable[str]) -> Values:
    """Turn ``["method.rank=4"]`` into ``{"method.rank": 4}``: full keys, values read as TOML."""
    values: Values = {}
    for word in words:
        key, equals, raw = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{word!r}: expected key=value, such as method.rank=4")
        key = SHORT.get(key, key)
        if key in values:
            raise UsageError(f"{key}: given twice")
        values[key] = read_value(raw, key)
    return values


def resolve(preset: str, given: Mapping[str, Any]) -> Spec:
    """Return the Spec of a preset, full keys and values."""
    values = _flat(_preset(preset))
    name = given.get("method.name", values.get("method.name"))
    if name is None:
        raise UsageError(f"method: missing; say method=NAME, one of {', '.join(methods.names())}")
    _check_names(str(name), given)
    backbone = str(given.get("backbone.name", values.get("backbone.name", BackboneSpec.name)))
    several = values.get("protocol") == MULTI_TASK
    named = given.get("data.name", values.get("data.name", DataSpec.name))
    data = multi_task_sets.joined_name(named) if several else canonical_name(str(named))
    if "data.content" not in given:
        content = multi_task_sets.joined_content if several else content_hash
        values["data.content"] = content(data, str(given.get("data.root", "")))
    kind = methods.find(str(name))  # imports torch, so mistyped words are refused before
    preset_data = {key: value for key, value in values.items() if key == "data.shots"}
    host = str(given.get(HOST, getattr(kind, "host", "")))  # of a wrapper
    for each in (host, str(name)) if host else (str(name),):
        values |= methods.find(each).recipe
        values |= tuned(backbone, each)
    usual = multi_task_sets.joined_defaults(data) if several else default_settings(data)
    values |= {f"data.{k}": v for k, v in usual.items()}
    values |= preset_data  # a protocol that fixes the shots knows better than the data set
    values |= given
    values |= {"data.name": data, "data.targets": _targets(values, data)}
    if values.get("backbone.precision") == "auto":
        from harness.model import precision

        values["backbone.precision"] = precision.auto_precision(backbone)
    values.pop("method.name", None)
    return _checked(kind, values)


def _targets(values: Values, source: str) -> Any:
    """Return the data sets that are only tested: those named, or those of the protocol."""
    named = values.get("data.targets")
    if named is None:
        return list(_default_targets(values.get("protocol"), source))
    words = named.split(",") if isinstance(named, str) else named
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return named  # refused by the check of the field
    return list(
        dict.fromkeys(
            canonical_name(one)
            for word in map(str.strip, words)
            for one in set_collections().get(word, (word,))
            if word and canonical_name(one) != source
        )
    )


def tuned(backbone: str, method: str) -> Values:
    """Return the settings tuned on validation data for a backbone, from presets/tuned.toml."""
    values: Values = {}
    for pattern, table in _load("tuned").items():
        if fnmatchcase(backbone, pattern):
            values |= _flat(table.get("all", {})) | _flat(table.get(method, {}))
    return values


def presets() -> tuple[str, ...]:
    """Return the names of the presets, sorted."""
    folder = files("harness") / "spec" / "presets"
    names = (f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
    return tuple(sorted(set(names) - {"tuned"}))


def protocol_of(preset: str) -> str:
    """Return the protocol of a preset. Raises UsageError for an unknown preset."""
    return str(_preset(preset).get("protocol", ""))


def describe(preset: str) -> str:
    """Return the one line that describes a preset."""
    return str(_preset(preset).get("about", ""))


def from_dict(stored: Mapping[str, Any]) -> Spec:
    """Return the Spec of a stored ``as_dict()``."""
    values = _flat(dict(stored))
    return _checked(methods.find(values.pop("method.name")), values)


# --- checking --------------------------------------------------------------------------------


def _checked(kind: "type[Method]", values: Values) -> Spec:
    protocol = values.pop("protocol", None)
    if protocol not in PROTOCOLS:
        raise unknown(f"protocol {protocol!r}", str(protocol), PROTOCOLS)
    seed = values.pop("seed", 1)
    _check_names(methods.name_of(kind), values)
    tables: dict[str, Values] = {"method": {}, **{part: {} for part in PARTS}}
    for key, value in values.items():
        part, _, name = key.partition(".")
        tables[part][name] = value
    _gather(tables["method"])
    parts = {part: check_part(part, cls, tables[part]) for part, cls in PARTS.items()}
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise UsageError(f"seed: expected a whole number from 0 to 2^32 - 1, got {seed!r}")
    if parts["data"].views and parts["train"].augment == "none":
        raise UsageError(
            f"data.views: {parts['data'].views} views of each image need train.augment=crop_flip;"
            " with train.augment=none images stay as they are"
        )
    spec = Spec(protocol, check_part("method", kind, tables["method"]), seed=seed, **parts)
    check_protocol(spec.protocol, spec.data)
    return spec


def _gather(values: Values) -> None:
    """Turn ``method.host.rank=4`` into one more word of ``method.settings``."""
    keys = [key for key in values if key.startswith("host.")]
    words = [f"{key.partition('.')[2]}={json.dumps(values.pop(key))}" for key in keys]
    if words:
        values["settings"] = [*values.get("settings", []), *words]


def _check_names(method: str, values: Iterable[str]) -> None:
    """Raise UsageError for a key that names no setting; torch is not needed to know them."""
    known = {part: field_names(kind) for part, kind in PARTS.items()}
    known["method"] = method_settings(method)
    for key in values:
        part, dot, name = key.partition(".")
        if key in ("protocol", "seed", "method.name") or key.startswith(f"{HOST}."):
            continue
        if not dot or part not in known:
            keys = [f"{part}.{name}" for part, names in known.items() for name in names]
            raise unknown(key, key, [*keys, *SHORT, "seed"])
        if name not in known[part]:
            raise unknown(key, name, known[part])


# --- files -----------------------------------------------------------------------------------


ALIASES = {"base_to_new": "base_to_novel"}


def _preset(name: str) -> Values:
    name = ALIASES.get(name, name)
    if name not in presets():
        raise unknown(f"preset {name!r}", name, presets())
    return dict(_load(name))


@cache
def _load(name: str) -> Mapping[str, Any]:
    text = (files("harness") / "spec" / "presets" / f"{name}.toml").read_text()
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


def _default_targets(protocol: object, source: str) -> tuple[str, ...]:
    """Return the data sets that a protocol tests by default, without the one it trains on."""
    collections = set_collections()
    targets: tuple[str, ...] = ()
    if protocol == "domain_generalization" and source == "imagenet":
        targets = collections["shift4"]
    if protocol == "cross_dataset":
        both = (collections[name] for name in ("all11", "embedded"))
        targets = next((names for names in both if source in names), ())
    return tuple(name for name in targets if name != source)
