"""A sweep as a value: its space, its fixed settings, the runs of a trial, and its objectives."""

import hashlib
import itertools
import json
import shlex
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import methods
from harness.run import config
from harness.spec.quantities import VALIDATION
from harness.spec.spec import Protocol, Spec
from methods.kit.core.errors import UsageError, unknown
from sweeps.space import points
from sweeps.space.definition import Space, key_of
from sweeps.space.dimension import Dimension
from sweeps.space.objectives import KNOWN_BEFORE, Cap, Direction, direction
from sweeps.suite.build import resolve_sources

SAMPLERS = ("tpe", "gp", "nsga2", "grid", "random")
PRUNERS = ("median", "hyperband", "none")
GRID_LIMIT = 2000
CHECKPOINTS = 3  # inside a run, for the pruner: after 1/4, 1/2 and 3/4 of its epochs


@dataclass(frozen=True)
class SweepOptions:
    """How a sweep searches; part of its identity."""

    sampler: str = "tpe"
    pruner: str = "median"
    sampler_seed: int = 0
    bound: bool = True
    prune_points: int | None = None  # validation checkpoints inside each run; None: the default

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
    uri: str | None = None  # of the ledger, to look up the runs that others start from

    @property
    def note(self) -> str:
        """The description in MLflow."""
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
    def front_axes(self) -> tuple[int, int] | None:
        """Places of the accuracy and the cost among the objectives, where the front bound applies.

        It needs a validation accuracy and a cost that is known before training.
        """
        if not self.options.bound or len(self.objectives) != 2:
            return None
        for a, c in ((0, 1), (1, 0)):
            if self.objectives[a] in VALIDATION and self.objectives[c] in KNOWN_BEFORE:
                return a, c
        return None

    @property
    def prunes_inside_runs(self) -> bool:
        """Whether a run can be pruned: one objective, measured on validation data."""
        single = len(self.objectives) == 1 and self.objectives[0] in VALIDATION
        return single and self.options.pruner != "none"

    @property
    def prunes(self) -> bool:
        """Whether trials may end before their last run does."""
        several = self.step(len(self.cells)) >= 2
        return several and len(self.objectives) == 1 and self.options.pruner != "none"

    @property
    def checkpoints(self) -> int:
        """The number of validation checkpoints inside each run."""
        if not self.prunes_inside_runs:
            return 0
        return CHECKPOINTS if self.options.prune_points is None else self.options.prune_points

    def step(self, runs: int, checkpoint: int = 0) -> int:
        """Return the step of a trial after so many runs, and so many checkpoints in the next."""
        return runs * (self.checkpoints + 1) + checkpoint

    # --- trials ------------------------------------------------------------------------------

    def overrides(self, values: dict[str, Any]) -> list[str]:
        """Return the words of a trial, for any data set and seed."""
        return [f"method={self.space.method}", *self.words, *self.sampled_words(values)]

    def sampled_words(self, values: dict[str, Any]) -> list[str]:
        return [setting(key, value) for key, value in values.items()]

    def run_words(self, values: dict[str, Any], data: str, seed: int) -> list[str]:
        """Return the words of one run of a trial, to follow ``ringbench run PRESET``.

        ``method.start`` is replaced by the full name of the run that it means now.
        """
        words = [*self.overrides(values), setting("data", data), f"seed={seed}"]
        starts = [w for w in words if w.startswith("method.start=")]
        if starts:
            spec = resolve_sources(config.build(self.preset, words), self.uri)
            words[words.index(starts[0])] = setting("method.start", spec.method.start)
        return words

    def specs(self, values: dict[str, Any]) -> list[Spec]:
        """Return the runs of a trial, built from the words that can be pasted.

        Raises UsageError.
        """
        return [config.build(self.preset, self.run_words(values, d, s)) for d, s in self.cells]

    def command(self, values: dict[str, Any]) -> str:
        """Return the first run of a trial as a command line."""
        words = self.run_words(values, *self.cells[0])
        return shlex.join(["ringbench", "run", self.preset, *words])

    @cached_property
    def default_values(self) -> dict[str, Any]:
        """The value of every key where it is not searched."""
        flat = config.build(self.preset, self.run_words({}, *self.cells[0])).flat()
        return {key: _json_value(value) for key, value in flat.items()}

    def searched_values(self, value_of: points.ValueOf) -> dict[str, Any]:
        """Return values by key: ``value_of`` each dimension that is searched."""
        named = points.searched(self.space, self.default_values, value_of)
        return {key_of(name): value for name, value in named}

    def encode(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return values as Optuna stores them, by the names of dimensions."""
        named = points.by_dimension(self.space, self.default_values, values)
        return {name: self.space.dims[name].encode(value) for name, value in named.items()}

    def decode(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return values by spec key from the parameters that Optuna stores."""
        return self.searched_values(lambda name, dim: dim.decode(params[name]))

    def initial_trials(self) -> list[dict[str, Any]]:
        """Return the first settings to try: the paper's, then those of `ringbench run`."""
        kind = methods.find(self.space.method)
        paper = {f"method.{k}": _json_value(v) for k, v in vars(kind()).items()}
        trials: list[dict[str, Any]] = []
        for source in (self.default_values | paper | dict(kind.recipe), self.default_values):
            values = self.searched_values(partial(_nearest, source))
            if values not in trials:
                trials.append(values)
        return trials

    def grid(self) -> list[dict[str, Any]]:
        """Return every point of the space's grid. Raises UsageError for one that is too large."""
        every = points.grid_points(self.space, self.default_values)
        grid = list(itertools.islice(every, GRID_LIMIT + 1))
        if len(grid) > GRID_LIMIT:
            raise UsageError(
                f"--sampler grid: more than {GRID_LIMIT:,} points; fix keys or take another sampler"
            )
        return grid

    def queue(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what is tried first, with its origin: the initial trials, then a grid.

        A grid is shuffled by the sampler's seed, so that any part of it spreads over the space.
        """
        initial = self.initial_trials()
        grid = self.grid() if self.options.sampler == "grid" else []
        seed = self.options.sampler_seed
        grid.sort(key=lambda point: hashlib.sha256(f"{seed}{point}".encode()).digest())
        queue = [("default", values) for values in initial]
        return queue + [("grid", values) for values in grid if values not in initial]

    def unit_cube(self, values: dict[str, Any]) -> tuple[float, ...]:
        """Return a trial's settings as coordinates from 0 to 1."""
        return points.unit_cube(self.space, self.default_values, values)

    # --- identity ----------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """Return what is shown and stored of a sweep."""
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
            "prune_points": self.checkpoints,
        }

    def digest(self) -> str:
        """Return the identity of a sweep: its space, default specs, objectives and options."""
        facts = {k: v for k, v in self.as_dict().items() if k not in ("name", "space", "fixed")}
        rules = self.space.condition
        facts["dims"] = {n: f"{dim!r} {rules(n)}" for n, dim in self.space.dims.items()}
        facts["specs"] = [spec.digest() for spec in self.specs({})]
        text = json.dumps(facts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def setting(key: str, value: Any) -> str:
    """Return ``key=value`` that reads back as the value."""
    plain = isinstance(value, str) and value and config.read_value(value) == value
    return f"{key}={value}" if plain else f"{key}={json.dumps(value)}"


def _nearest(source: dict[str, Any], name: str, dim: Dimension) -> Any:
    """Return the value of a source, moved into a dimension."""
    return dim.nearest(source[key_of(name)])


def _json_value(value: Any) -> Any:
    return json.loads(json.dumps(value))
