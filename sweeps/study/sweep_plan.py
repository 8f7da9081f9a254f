"""A sweep as a value: what is searched, what is fixed, what a trial runs, what it aims at."""

import hashlib
import itertools
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import methods
from harness.data import multi_task_sets
from harness.run import config
from harness.run.execute import check_spec
from harness.spec.quantities import VALIDATION
from harness.spec.spec import MULTI_TASK, Protocol, Spec
from harness.tracking.source_lookup import resolve_source_runs
from methods.kit.core.errors import UsageError, unknown
from sweeps.space import definition, generated, objectives, points
from sweeps.space.definition import Space, key_of
from sweeps.space.objectives import KNOWN_BEFORE, Cap, Direction, direction
from sweeps.space.points import grid_points
from sweeps.suite.build import AXES, choices

SAMPLERS = ("tpe", "gp", "nsga2", "grid", "random")
PRUNERS = ("median", "hyperband", "none")
GRID_LIMIT = 2000
LOOKS = 3  # inside a run, for the pruner: after 1/4, 1/2 and 3/4 of its epochs


@dataclass(frozen=True)
class SweepOptions:
    """How a sweep searches; part of its identity."""

    sampler: str = "tpe"
    pruner: str = "median"
    sampler_seed: int = 0
    bound: bool = True
    prune_points: int | None = None  # looks inside each run; None: as many as serve

    def __post_init__(self) -> None:
        for name, word, known in (
            ("--sampler", self.sampler, SAMPLERS),
            ("--pruner", self.pruner, PRUNERS),
        ):
            if word not in known:
                raise unknown(f"{name} {word!r}", word, known)


@dataclass(frozen=True)
class SweepPlan:
    """One sweep. ``words`` are the fixed settings, without data set and seed."""

    name: str
    space: Space
    preset: str
    protocol: Protocol
    words: tuple[str, ...]
    cells: tuple[tuple[str, int], ...]  # (data set, seed), in the order in which a trial runs them
    objectives: tuple[str, ...]
    caps: tuple[Cap, ...]
    options: SweepOptions
    uri: str | None = None  # of the ledger, where runs to start from are looked for

    @property
    def note(self) -> str:
        """What a person reads about it in MLflow."""
        data = ", ".join(dict.fromkeys(d for d, _ in self.cells))
        seeds = ", ".join(str(s) for s in dict.fromkeys(s for _, s in self.cells))
        return (
            f"Settings of **{self.space.method}** ({', '.join(self.space.keys)}) searched on"
            f" validation data for {', '.join(self.objectives)}: {self.protocol} on {data}, seeds"
            f" {seeds}. The runs of its trials are nested below; none is tested.\n\n"
            f"    ringbench report --sweep {self.name}"
        )

    @property
    def directions(self) -> list[Direction]:
        return [direction(name) for name in self.objectives]

    @property
    def bounded(self) -> tuple[int, int] | None:
        """Places of accuracy and of a cost known before training, where the bound applies."""
        if not self.options.bound or len(self.objectives) != 2:
            return None
        for a, c in ((0, 1), (1, 0)):
            cost, accuracy = self.objectives[c], self.objectives[a]
            if cost in KNOWN_BEFORE and accuracy in VALIDATION:
                return a, c
        return None

    @property
    def pruned_midway(self) -> bool:
        """Whether a look inside a run can end it: one objective, seen on validation data."""
        one = len(self.objectives) == 1 and self.objectives[0] in VALIDATION
        return one and self.options.pruner != "none"

    @property
    def looks(self) -> int:
        """How often each run is looked at before its end."""
        given = self.options.prune_points
        if not self.pruned_midway:
            return 0
        return LOOKS if given is None else given

    def step(self, runs: int, look: int = 0) -> int:
        """The step of a trial at a look (from 1) of the run behind so many, or at the end of
        these runs."""
        return runs * (self.looks + 1) + look

    # --- trials ------------------------------------------------------------------------------

    def overrides(self, values: dict[str, Any]) -> list[str]:
        """The words of a trial, for any data set and seed."""
        sampled = [word(key, value) for key, value in values.items()]
        return [f"method={self.space.method}", *self.words, *sampled]

    def paste(self, values: dict[str, Any], data: str, seed: int) -> list[str]:
        """The words of one run of a trial, to follow ``ringbench run PRESET``.

        A run that is started from is named in full: the one that is meant now.
        """
        words = [*self.overrides(values), word("data", data), f"seed={seed}"]
        begins = [w for w in words if w.startswith("method.start=")]
        if begins:
            spec = resolve_source_runs(config.build(self.preset, words), self.uri)
            words[words.index(begins[0])] = word("method.start", spec.method.start)
        return words

    def specs(self, values: dict[str, Any]) -> list[Spec]:
        """The runs of a trial, built from the very words that can be pasted. Raises UsageError."""
        return [config.build(self.preset, self.paste(values, d, s)) for d, s in self.cells]

    def command(self, values: dict[str, Any]) -> str:
        """The first run of a trial as a command line."""
        words = self.paste(values, *self.cells[0])
        return shlex.join(["ringbench", "run", self.preset, *words])

    @cached_property
    def usual(self) -> dict[str, Any]:
        """What every key is where it is not searched."""
        usual = config.build(self.preset, self.paste({}, *self.cells[0])).flat()
        return {key: _plain(value) for key, value in usual.items()}

    def walk(self, value_of: points.ValueOf) -> dict[str, Any]:
        """Values by key: what ``value_of`` gives for each dimension that is searched."""
        return points.walk(self.space, self.usual, value_of)

    def searched(self, values: dict[str, Any]) -> dict[str, Any]:
        """Values by the names of the dimensions that they are from."""
        return points.searched(self.space, self.usual, values)

    def defaults(self) -> list[dict[str, Any]]:
        """Where the search begins: the paper's settings, then those that `run` would take."""
        usual = self.usual
        kind = methods.find(self.space.method)
        paper = {f"method.{k}": _plain(v) for k, v in vars(kind()).items()}
        paper |= dict(kind.recipe)
        found = []
        for source in (usual | paper, usual):
            values = self.walk(partial(points.nearest, source))
            if values not in found:
                found.append(values)
        return found

    def grid(self) -> list[dict[str, Any]]:
        """Every point of the space's grid. Raises UsageError for one that is too large."""
        every = grid_points(self.space, self.usual)
        points = list(itertools.islice(every, GRID_LIMIT + 1))
        if len(points) > GRID_LIMIT:
            raise UsageError(
                f"--sampler grid: more than {GRID_LIMIT:,} points; fix keys or take another sampler"
            )
        return points

    def unit(self, values: dict[str, Any]) -> tuple[float, ...]:
        """A trial's settings in the unit cube."""
        return points.unit(self.space, self.usual, values)

    # --- identity ----------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """What is shown and stored of a sweep."""
        return {
            "name": self.name,
            "space": self.space.name,
            "method": self.space.method,
            "dims": self.space.as_dict(),
            "preset": self.preset,
            "protocol": self.protocol,
            "fixed": list(self.words),
            "cells": [list(cell) for cell in self.cells],
            "objectives": list(self.objectives),
            "directions": list(self.directions),
            "caps": [str(cap) for cap in self.caps],
            **vars(self.options),
            "prune_points": self.looks,
        }

    def digest(self) -> str:
        """The identity of a sweep: its space, the specs it starts from, its aims and options."""
        facts = {k: v for k, v in self.as_dict().items() if k not in ("name", "space", "fixed")}
        rules = self.space.condition
        facts["dims"] = {n: f"{dim!r} {rules(n)}" for n, dim in self.space.dims.items()}
        facts["specs"] = [spec.digest() for spec in self.specs({})]
        text = json.dumps(facts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def build(
    wanted: str,
    words: Sequence[str],
    preset: str,
    objective: Sequence[str],
    cap: Sequence[str],
    options: SweepOptions,
    name: str | None = None,
    uri: str | None = None,
) -> SweepPlan:
    """The sweep that a command describes, all of it checked. Raises UsageError in one line."""
    given, data, seeds = _read(words)
    if config.protocol_of(preset) == MULTI_TASK and data:
        data = multi_task_sets.set_groups(data)
    method = given.pop("method.name", None)
    found = _space(wanted, method, preset, given)
    if method not in (None, found.method):
        raise UsageError(f"method={method}: space {wanted!r} searches {found.method}")
    found = found.without(given)
    usual = config.resolve(preset, {**given, "method.name": found.method, **_first("data", data)})
    cells = tuple((d, s) for s in seeds or [usual.seed] for d in data or [usual.data.name])
    fixed = tuple(word(key, value) for key, value in given.items())
    aims = objectives.objectives(objective, usual.protocol)
    limits = objectives.caps(cap)
    plan = SweepPlan("", found, preset, usual.protocol, fixed, cells, aims, limits, options, uri)
    _check_conditions(plan)
    plan = replace(plan, space=found.under(plan.usual))
    _check(plan)
    return replace(plan, name=_name(name) if name else f"{found.name}-{plan.digest()}")


def word(key: str, value: Any) -> str:
    """``key=value`` that reads back as the value."""
    plain = isinstance(value, str) and value and config.read_value(value) == value
    return f"{key}={value}" if plain else f"{key}={json.dumps(value)}"


def _read(words: Sequence[str]) -> tuple[dict[str, Any], list[str], list[int]]:
    """Fixed settings, data sets and seeds."""
    given: dict[str, Any] = {}
    for text in words:
        key, equals, raw = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{text!r}: expected key=value, such as data=digits")
        if key == "methods":
            raise UsageError("methods=...: to compare methods, say --methods A,B --budget 30")
        key = AXES.get(key, config.SHORT.get(key, key))
        if key in given:
            raise UsageError(f"{key}: given twice")
        axis = key in ("data.name", "seed")
        given[key] = choices(key, raw) if axis else config.read_value(raw, key)
    data = [str(d) for d in given.pop("data.name", [])]
    seeds = list(dict.fromkeys(given.pop("seed", [])))
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise UsageError(f"seed: expected a whole number from 0, got {seed!r}")
    return given, list(dict.fromkeys(data)), seeds


def _space(wanted: str, method: Any, preset: str, given: dict[str, Any]) -> Space:
    if wanted not in definition.MADE:
        return definition.load(wanted)
    if method is None:
        raise UsageError(f"space {wanted!r}: say of which method, method=NAME")
    lr = config.resolve(preset, {**given, "method.name": str(method)}).train.lr
    return generated.made(wanted, str(method), lr)


def _check(plan: SweepPlan) -> None:
    """All that can be wrong before the first trial."""
    for name, dim in plan.space.dims.items():
        for value in dim.edges():
            _check_value(plan, key_of(name), value)
    for spec in plan.specs({}):
        counts = check_spec(spec)
        if spec.data.val_shots == 0:
            raise UsageError("data.val_shots: a sweep needs validation images, not 0 a class")
        if counts.trainable == 0:
            raise UsageError(f"{plan.space.method}: trains nothing, so there is nothing to tune")
    if plan.options.prune_points and not plan.pruned_midway:
        raise UsageError(
            "--prune-points: looks inside runs serve a pruner and one accuracy as the objective"
        )
    if plan.options.sampler == "grid":
        plan.grid()


def _check_conditions(plan: SweepPlan) -> None:
    """Conditions speak of keys that a run has and of values that they can have."""
    for name in plan.space.dims:
        for key, value in plan.space.condition(name).values():
            if key not in plan.usual:
                where = f"space {plan.space.name!r}: {name}: {key!r}"
                raise unknown(where, key, list(plan.usual))
            if key not in {w.partition("=")[0] for w in plan.words}:
                _check_value(plan, key, value)


def _check_value(plan: SweepPlan, key: str, value: Any) -> None:
    (data, seed), *_ = plan.cells
    try:
        config.build(plan.preset, plan.paste({key: value}, data, seed))
    except UsageError as error:
        raise UsageError(f"space {plan.space.name!r}: {error}") from None


def _first(key: str, values: Sequence[str]) -> dict[str, str]:
    return {f"{key}.name": values[0]} if values else {}


def _name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"--name {name!r}: letters, digits, '.', '-' and '_' only")
    return name


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
