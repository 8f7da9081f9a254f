"""A suite: methods x data sets x seeds x settings, as a list of specs over one ledger."""

import hashlib
import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import methods
from harness.data import multi_task_sets, registry
from harness.data.public_sets import canonical_name
from harness.run import catalogue, config
from harness.spec.spec import MULTI_TASK, Spec
from methods.kit.core.errors import UsageError

AXES = {"methods": "method.name", "seeds": "seed", "data": "data.name", "datasets": "data.name"}
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Suite:
    """The specs of a suite, in the order in which they run: a full table for each seed."""

    name: str
    protocol: str
    specs: tuple[Spec, ...]
    command: str

    @property
    def note(self) -> str:
        """What a person reads about it in MLflow."""
        return (
            f"{len(self.specs)} runs, nested below; tables and pictures are its artifacts once all"
            f" are finished. The same command finishes what is missing:\n\n    {self.command}"
        )


def build_suite(preset: str, words: Sequence[str], uri: str | None = None) -> Suite:
    """The suite that words describe: a comma list makes an axis of the grid.

    ``lora.rank=2,4`` is an axis of one method alone; data sets of multi_task are trained together.
    Runs that others start from are looked for in the ledger at ``uri``. Raises UsageError.
    """
    axes: dict[str, list[Any]] = {}
    for word in words:
        key, equals, raw = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{word!r}: expected key=value, such as methods=lora,adaring")
        key = AXES.get(key, config.SHORT.get(key, key))
        if key in axes:
            raise UsageError(f"{key}: given twice")
        axes[key] = choices(key, raw)
    if config.protocol_of(preset) == MULTI_TASK and "data.name" in axes:
        axes["data.name"] = multi_task_sets.set_groups(axes["data.name"])
    names = [str(name) for name in axes.pop("method.name", [])]
    if not names:
        raise UsageError(f"methods: missing; say methods=A,B of {', '.join(methods.names())}")
    for name in names:
        catalogue.method_settings(name)  # refuses an unknown one
    specs = _unique(spec for name in names for spec in _grid(preset, name, names, axes, uri))
    place = {name: i for i, name in enumerate(names)}
    sets = {str(name): i for i, name in enumerate(dict.fromkeys(axes.get("data.name", [])))}
    specs.sort(key=lambda s: (s.seed, sets.get(s.data.name, 0), place[s.method_name]))
    text = "\n".join(sorted(s.digest() for s in specs))
    name = f"{preset}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    command = shlex.join(["ringbench", "suite", preset, *words])
    return Suite(name, specs[0].protocol, tuple(specs), command)


def _grid(
    preset: str,
    method: str,
    others: Sequence[str],
    axes: Mapping[str, Sequence[Any]],
    uri: str | None,
) -> list[Spec]:
    mine: dict[str, Sequence[Any]] = {}
    for key, values in axes.items():
        owner, dot, rest = key.partition(".")
        if owner in methods.names() and dot:
            if owner not in others:
                raise UsageError(f"{key}: {owner} is not among methods={','.join(others)}")
            if owner == method:
                part = rest.split(".")[0]
                full = rest if part in ("train", "data", "backbone") else f"method.{rest}"
                mine[full] = values
        else:
            mine.setdefault(key, values)
    points = (dict(zip(mine, point, strict=True)) for point in itertools.product(*mine.values()))
    specs = [config.resolve(preset, {"method.name": method, **point}) for point in points]
    from harness.tracking.source_lookup import resolve_source_runs

    return [resolve_source_runs(spec, uri) for spec in specs]


def choices(key: str, raw: str) -> list[Any]:
    """The values of an axis: split at commas outside of brackets and quotes; 1-3 for seeds."""
    values: list[Any] = []
    for word in _split(raw):
        known = _collection(key, word)
        first, dash, last = word.partition("-")
        if known is not None:
            values += known
        elif key == "seed" and dash and first.isdigit() and last.isdigit():
            values += _seeds(int(first), int(last))
        elif key == "data.name":
            values.append(canonical_name(str(config.read_value(word))))
        else:
            values.append(config.read_value(word, key))
    if not values:
        raise UsageError(f"{key}: no value given")
    return values


def _collection(key: str, word: str) -> tuple[str, ...] | None:
    """What a word stands for, where it stands for several."""
    if key == "method.name" and word == "all":
        return methods.names()
    return registry.set_collections().get(word) if key == "data.name" else None


def _seeds(first: int, last: int) -> range:
    if not 0 <= last - first < MOST_SEEDS:
        raise UsageError(
            f"seeds: {first}-{last} must count up and name at most {MOST_SEEDS:,} seeds"
        )
    return range(first, last + 1)


def _split(raw: str) -> list[str]:
    words, depth, quoted = [""], 0, ""
    for char in raw:
        if quoted:
            quoted = "" if char == quoted else quoted
        elif char in "\"'":
            quoted = char
        depth += (char in "[{") - (char in "]}")
        if char == "," and not depth and not quoted:
            words.append("")
        else:
            words[-1] += char
    return [word.strip() for word in words if word.strip()]


def _unique(specs: Any) -> list[Spec]:
    return list({spec.digest(): spec for spec in specs}.values())
