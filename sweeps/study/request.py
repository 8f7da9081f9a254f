"""From the words and options of a command to a sweep's plan, with every check before a trial."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.data import multi_task_sets
from harness.run import config
from harness.spec.spec import MULTI_TASK
from methods.kit.core.errors import UsageError, unknown
from sweeps.space import objectives
from sweeps.space.definition import GENERATED, Space, check_space_name, key_of, load_space
from sweeps.space.generated import generate_space
from sweeps.study.sweep_plan import SweepOptions, SweepPlan, setting
from sweeps.suite.build import axis_values, read_words


@dataclass(frozen=True)
class SweepRequest:
    """The options of a sweep that a command gives, as they were typed."""

    preset: str = "base_to_novel"
    objective: tuple[str, ...] = ()
    cap: tuple[str, ...] = ()
    options: SweepOptions = field(default_factory=SweepOptions)
    name: str | None = None
    uri: str | None = None  # of the ledger


def build_plan(space: str, words: Sequence[str], request: SweepRequest) -> SweepPlan:
    """Build and check the sweep of a space and fixed settings. Raises UsageError in one line."""
    check_space_name(space)
    given, data, seeds = _read_settings(words)
    if config.protocol_of(request.preset) == MULTI_TASK and data:
        data = multi_task_sets.set_groups(data)
    method = given.pop("method.name", None)
    searched = _load(space, method, request.preset, given)
    if method not in (None, searched.method):
        raise UsageError(f"method={method}: space {space!r} searches {searched.method}")
    searched = searched.without(given)
    fixed = {**given, "method.name": searched.method}
    base = config.resolve(request.preset, fixed | ({"data.name": data[0]} if data else {}))
    plan = SweepPlan(
        "",
        searched,
        request.preset,
        base.protocol,
        tuple(setting(key, value) for key, value in given.items()),
        tuple((d, s) for s in seeds or [base.seed] for d in data or [base.data.name]),
        objectives.read_objectives(request.objective, base.protocol),
        objectives.read_caps(request.cap),
        request.options,
        request.uri,
    )
    _check_conditions(plan)
    plan = replace(plan, space=plan.space.under(plan.default_values))
    _check(plan)
    if request.name is None:
        return replace(plan, name=f"{plan.space.name}-{plan.digest()}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", request.name):
        raise UsageError(f"--name {request.name!r}: letters, digits, '.', '-' and '_' only")
    return replace(plan, name=request.name)


def _read_settings(words: Sequence[str]) -> tuple[dict[str, Any], list[str], list[int]]:
    """Return fixed settings, data sets and seeds."""
    if any(word.startswith("methods=") for word in words):
        raise UsageError("methods=...: to compare methods, say --methods A,B --budget 30")
    raw = read_words(words, "data=digits")
    data, seeds = (
        list(dict.fromkeys(axis_values(key, raw.pop(key)))) if key in raw else []
        for key in ("data.name", "seed")
    )
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise UsageError(f"seed: expected a whole number from 0, got {seed!r}")
    given = {key: config.read_value(value, key) for key, value in raw.items()}
    return given, [str(name) for name in data], seeds


def _load(space: str, method: Any, preset: str, given: dict[str, Any]) -> Space:
    if space not in GENERATED:
        return load_space(space)
    if method is None:
        raise UsageError(f"space {space!r}: say of which method, method=NAME")
    lr = config.resolve(preset, {**given, "method.name": str(method)}).train.lr
    return generate_space(space, str(method), lr)


def _check(plan: SweepPlan) -> None:
    """Raise UsageError for anything that can be wrong before the first trial."""
    for name, dim in plan.space.dims.items():
        for value in dim.extremes():
            _check_value(plan, key_of(name), value)
    from harness.run.execute import check_spec

    for spec in plan.specs({}):
        counts = check_spec(spec)
        if spec.data.val_shots == 0:
            raise UsageError("data.val_shots: a sweep needs validation images, not 0 a class")
        if counts.trainable == 0:
            raise UsageError(f"{plan.space.method}: trains nothing, so there is nothing to tune")
    if plan.options.prune_points and not plan.prunes_inside_runs:
        raise UsageError(
            "--prune-points: needs a pruner, and one validation accuracy as the objective"
        )
    if plan.options.sampler == "grid":
        plan.grid()


def _check_conditions(plan: SweepPlan) -> None:
    """Raise UsageError for a condition on a key or value that no run has."""
    fixed = {word.partition("=")[0] for word in plan.words}
    for name in plan.space.dims:
        for key, value in plan.space.condition(name).values():
            if key not in plan.default_values:
                where = f"space {plan.space.name!r}: {name}: {key!r}"
                raise unknown(where, key, list(plan.default_values))
            if key not in fixed:
                _check_value(plan, key, value)


def _check_value(plan: SweepPlan, key: str, value: Any) -> None:
    try:
        config.build(plan.preset, plan.run_words({key: value}, *plan.cells[0]))
    except UsageError as error:
        raise UsageError(f"space {plan.space.name!r}: {error}") from None
