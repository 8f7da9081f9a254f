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
        """The description in MLflow."""
        return (
            f"{len(self.specs)} runs, nested below; tables and pictures are its artifacts once all"
            f" are finished. The same command finishes what is missing:\n\n    {self.command}"
        )


def build_suite(preset: str, words: Sequence[str], uri: str | None = None) -> Suite:
    """Build the suite that words describe: a comma list makes an axis of the grid.

    ``lora.rank=2,4`` is an axis of one method alone; data sets of multi_task are trained together.
    Runs that others start from are looked up in the ledger at ``uri``. Raises UsageError.
    """
    raw = read_words(words, "methods=lora,adaring")
    axes = {key: axis_values(key, value) for key, value in raw.items()}
    if config.protocol_of(preset) == MULTI_TASK and "data.name" in axes:
        axes["data.name"] = multi_task_sets.set_groups(axes["data.name"])
    names = [str(name) for name in axes.pop("method.name", [])]
    if not names:
        raise UsageError(f"methods: missing; say methods=A,B of {', '.join(methods.names())}")
    for name in names:
        catalogue.method_settings(name)  # refuses an unknown one
    grid = (spec for name in names for spec in _grid(preset, name, names, axes, uri))
    specs = list({spec.digest(): spec for spec in grid}.values())
    sets = [str(name) for name in dict.fromkeys(axes.get("data.name", []))]
    specs.sort(key=lambda s: (s.seed, _place(s.data.name, sets), _place(s.method_name, names)))
    text = "\n".join(sorted(s.digest() for s in specs))
    name = f"{preset}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    command = shlex.join(["ringbench", "suite", preset, *words])
    return Suite(name, specs[0].protocol, tuple(specs), command)


def read_words(words: Sequence[str], example: str) -> dict[str, str]:
    """Return the right sides of ``key=value`` words by full spec key. Raises UsageError."""
    raw: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{word!r}: expected key=value, such as {example}")
        key = AXES.get(key, config.SHORT.get(key, key))
        if key in raw:
            raise UsageError(f"{key}: given twice")
        raw[key] = value
    return raw


def axis_values(key: str, raw: str) -> list[Any]:
    """Return the values of an axis: a comma list, with 1-3 for seeds and names of collections.

    Commas inside of brackets and quotes do not separate values. Raises UsageError.
    """
    values: list[Any] = []
    for word in _split(raw):
        collection = _collection(key, word)
        first, dash, last = word.partition("-")
        if collection is not None:
            values += collection
        elif key == "seed" and dash and first.isdigit() and last.isdigit():
            values += _seeds(int(first), int(last))
        elif key == "data.name":
            values.append(canonical_name(str(config.read_value(word))))
        else:
            values.append(config.read_value(word, key))
    if not values:
        raise UsageError(f"{key}: no value given")
    return values


def resolve_sources(spec: Spec, uri: str | None) -> Spec:
    """Return the spec with the runs that it starts from named in full, if there are any."""
    if not (spec.method.start or spec.method.runs):
        return spec
    from harness.tracking.source_lookup import resolve_source_runs

    return resolve_source_runs(spec, uri)


def _grid(
    preset: str, method: str, names: Sequence[str], axes: Mapping[str, Sequence[Any]],
    uri: str | None,
) -> list[Spec]:  # fmt: skip
    """Return the specs of one method among ``names``."""
    own: dict[str, Sequence[Any]] = {}
    for key, values in axes.items():
        owner, dot, rest = key.partition(".")
        if not dot or owner not in methods.names():
            own.setdefault(key, values)
        elif owner not in names:
            raise UsageError(f"{key}: {owner} is not among methods={','.join(names)}")
        elif owner == method:
            whole = rest.split(".")[0] in ("train", "data", "backbone")
            own[rest if whole else f"method.{rest}"] = values
    points = (dict(zip(own, values, strict=True)) for values in itertools.product(*own.values()))
    specs = (config.resolve(preset, {"method.name": method, **point}) for point in points)
    return [resolve_sources(spec, uri) for spec in specs]


def _place(name: str, names: Sequence[str]) -> int:
    return names.index(name) if name in names else 0


def _collection(key: str, word: str) -> tuple[str, ...] | None:
    """Return the names that a word stands for, or None for a plain name."""
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
    words, depth, quote = [""], 0, ""
    for char in raw:
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        depth += (char in "[{") - (char in "]}")
        if char == "," and not depth and not quote:
            words.append("")
        else:
            words[-1] += char
    return [word.strip() for word in words if word.strip()]
