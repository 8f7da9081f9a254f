"""Runs selected by what a person types, such as ``adaring`` or ``"adaring ring_rank=4"``."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import pandas as pd

import methods
from harness.run.config import SHORT, read_value
from harness.spec.protocols import DEFINITIONS
from harness.spec.spec import Protocol
from methods.kit.core.errors import UsageError, unknown

Several = Literal["refuse", "best", "all"]
CONFIGURATION_KEYS = ("method.", "train.", "data.template", "backbone.p")


@dataclass(frozen=True)
class Candidate:
    """A method with one configuration.

    ``name`` is for tables, ``title`` for sentences; ``rows`` are its finished runs.
    """

    method: str
    name: str
    title: str
    rows: pd.DataFrame


def select_candidates(
    runs: pd.DataFrame, names: Sequence[str], several: Several
) -> list[Candidate]:
    """Return the named candidates in order; ``runs`` are of one protocol and backbone.

    Raises UsageError for a name or setting without runs, and for several configurations of one
    name where ``several`` refuses them.
    """
    selected: dict[str, pd.DataFrame] = {}
    for text in names:
        for configuration, rows in _configurations(runs, text, several):
            if configuration in selected:
                raise UsageError(f"{text!r}: the same runs are named twice")
            selected[configuration] = rows
    return [_candidate(rows, runs) for rows in selected.values()]


def configuration_title(method: str, settings: str) -> str:
    """Return the name of a configuration in sentences; unknown methods keep their names."""
    name = methods.find(method).__name__ if method in methods.names() else method
    return f"{name} ({settings})" if settings else name


def method_of(text: str) -> str:
    """Return the method that is named. Raises UsageError for none and for unbalanced quotes."""
    return _words(text)[0]


def best_by_validation(runs: pd.DataFrame) -> str | None:
    """Return the configuration with the best validation accuracy, or None.

    The accuracy is the mean over the data sets and seeds that all configurations have in common;
    None where they have none. Of equal ones, the one with fewer parameters is chosen, then the
    first by name. Test accuracy is not used.
    """
    metric = DEFINITIONS[cast(Protocol, runs["protocol"].iloc[0])].validation
    if metric not in runs:
        return None
    known = runs[runs[metric].notna()].set_index(["dataset", "shots", "seed"])
    cells = known.groupby(level=[0, 1, 2])["configuration"].nunique()
    common = cells[cells == runs["configuration"].nunique()].index
    known = known[known.index.isin(common)]
    if known.empty:
        return None
    means = known.groupby("configuration").agg({metric: "mean", "params/trainable": "mean"})
    order = means.reset_index().sort_values(
        [metric, "params/trainable", "configuration"], ascending=[False, True, True]
    )
    return str(order["configuration"].iloc[0])


def _words(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}") from None
    if not words or "=" in words[0]:
        raise UsageError(f"{text!r}: expected a method, and then settings such as ring_rank=4")
    return words


def _configurations(
    runs: pd.DataFrame, text: str, several: Several
) -> list[tuple[str, pd.DataFrame]]:
    method, *words = _words(text)
    rows = runs[runs["method"] == method]
    if rows.empty:
        raise unknown(f"method {method!r} in the finished runs", method, set(runs["method"]))
    for word in words:
        rows = _with_setting(rows, method, word)
    parts = [(str(name), part) for name, part in rows.groupby("configuration", sort=False)]
    if len(parts) == 1 or several == "all":
        return parts
    if several == "best":
        name = best_by_validation(rows)
        if name is None:
            raise UsageError(
                f"{text!r}: its configurations share no data set and seed with validation"
                " accuracies, so none can be chosen; name one, or use --all"
            )
        return [(name, rows[rows["configuration"] == name])]
    listed = "; ".join(f'"{method} {s}"' for s in _settings([part for _, part in parts]))
    raise UsageError(
        f"{text!r} has {len(parts)} configurations: {listed}; name one,"
        " or choose with --best (by validation) or --all"
    )


def _with_setting(rows: pd.DataFrame, method: str, word: str) -> pd.DataFrame:
    key, equals, raw = word.partition("=")
    if not equals or not key:
        raise UsageError(f"{word!r}: expected key=value, such as ring_rank=4")
    keys = sorted({k for params in rows["params"] for k in params})
    full = next((k for k in (SHORT.get(key, key), f"method.{key}") if k in keys), None)
    if full is None:
        raise unknown(f"{method}: setting {key!r}", key, [k.removeprefix("method.") for k in keys])
    value = read_value(raw)
    same = rows[[full in p and _equal(p[full], raw, value) for p in rows["params"]]]
    if same.empty:
        there = sorted({p[full] for p in rows["params"] if full in p})
        raise UsageError(f"{method}: no finished run with {word}; recorded: {', '.join(there)}")
    return same


def _equal(recorded: str, raw: str, value: Any) -> bool:
    """Return whether a recorded parameter is what was typed: as text, number or list."""
    if recorded in (raw, value):
        return True
    try:
        stored = json.loads(recorded)
    except json.JSONDecodeError:
        return False
    if isinstance(stored, list):
        typed = value if isinstance(value, list) else str(raw).split(",")
        return [str(v) for v in stored] == [str(v).strip() for v in typed]
    both = isinstance(stored, bool) == isinstance(value, bool)  # 1 is not true
    return both and bool(stored == value)


def _candidate(rows: pd.DataFrame, runs: pd.DataFrame) -> Candidate:
    """Name a candidate by the settings that tell it from its method's other configurations."""
    method, configuration = str(rows["method"].iloc[0]), rows["configuration"].iloc[0]
    parts = dict(list(runs[runs["method"] == method].groupby("configuration")))
    settings = _settings(list(parts.values()))[list(parts).index(configuration)]
    title = configuration_title(method, settings)
    return Candidate(method, f"{method} {settings}".strip(), title, rows)


def _settings(configurations: Sequence[pd.DataFrame]) -> list[str]:
    """Return for each configuration of a method the settings in which they differ, as typed."""
    params = [runs["params"].iloc[0] for runs in configurations]
    keys = sorted({k for p in params for k in p if k.startswith(CONFIGURATION_KEYS)})
    varying = [k for k in keys if len({p.get(k) for p in params}) > 1]
    return [
        " ".join(f"{k.removeprefix('method.')}={p.get(k, '')}" for k in varying) for p in params
    ]
