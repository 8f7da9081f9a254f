"""From what a person names, as ``adaring`` or ``"adaring ring_rank=4"``, to the runs meant."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

import methods
from harness.run.config import SHORT, read_value
from harness.spec.protocols import DEFINITIONS
from methods.kit.core.errors import UsageError, unknown

Several = Literal["refuse", "best", "all"]
VALIDATION: dict[str, str] = {name: p.validation for name, p in DEFINITIONS.items()}
OF_A_METHOD = ("method.", "train.", "data.template", "backbone.p")


@dataclass(frozen=True)
class Candidate:
    """A method with one configuration. ``name`` is for tables, ``title`` for sentences; ``rows``
    are its finished runs."""

    method: str
    name: str
    title: str
    rows: pd.DataFrame


def select_candidates(
    table: pd.DataFrame, asked: Sequence[str], several: Several
) -> list[Candidate]:
    """The entrants that were asked for, in that order; ``table`` is of one protocol and backbone.

    Raises UsageError for a name or setting without runs, and for several configurations of one
    name where ``several`` refuses them.
    """
    chosen: dict[str, pd.DataFrame] = {}
    for text in asked:
        for configuration, rows in _configurations(table, text, several):
            if configuration in chosen:
                raise UsageError(f"{text!r}: the same runs are named twice")
            chosen[configuration] = rows
    return [_entrant(rows, table) for rows in chosen.values()]


def configuration_title(method: str, settings: str) -> str:
    """What a configuration is called in sentences; methods that are gone keep their names."""
    kind = methods.find(method).__name__ if method in methods.names() else method
    return f"{kind} ({settings})" if settings else kind


def method_of(text: str) -> str:
    """The method that is named. Raises UsageError for nothing and for unbalanced quotes."""
    return _words(text)[0]


def best_by_validation(rows: pd.DataFrame) -> str | None:
    """The configuration with the best validation accuracy, mean over the data sets and seeds that
    all have in common; of equals the one with fewer parameters, then the first.

    None where they have none in common. Test accuracy is never looked at.
    """
    metric = VALIDATION[str(rows["protocol"].iloc[0])]
    if metric not in rows:
        return None
    known = rows[rows[metric].notna()].set_index(["dataset", "shots", "seed"])
    cells = known.groupby(level=[0, 1, 2])["configuration"].nunique()
    common = cells[cells == rows["configuration"].nunique()].index
    known = known[known.index.isin(common)]
    if known.empty:
        return None
    means = known.groupby("configuration").agg({metric: "mean", "params/trainable": "mean"})
    order = means.reset_index().sort_values(
        [metric, "params/trainable", "configuration"], ascending=[False, True, True]
    )
    return str(order["configuration"].iloc[0])


# --- inside ----------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}") from None
    if not words or "=" in words[0]:
        raise UsageError(f"{text!r}: expected a method, and then settings such as ring_rank=4")
    return words


def _configurations(
    table: pd.DataFrame, text: str, several: Several
) -> list[tuple[str, pd.DataFrame]]:
    method, *words = _words(text)
    rows = table[table["method"] == method]
    if rows.empty:
        raise unknown(f"method {method!r} in the finished runs", method, set(table["method"]))
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
    wanted = read_value(raw)
    kept = rows[[full in p and _equal(p[full], raw, wanted) for p in rows["params"]]]
    if kept.empty:
        there = sorted({p[full] for p in rows["params"] if full in p})
        raise UsageError(f"{method}: no finished run with {word}; recorded: {', '.join(there)}")
    return kept


def _equal(recorded: str, raw: str, wanted: Any) -> bool:
    """Whether a recorded parameter is what was typed: as text, as a number, or as a list."""
    if recorded in (raw, wanted):
        return True
    try:
        value = json.loads(recorded)
    except json.JSONDecodeError:
        return False
    if isinstance(value, list):
        typed = wanted if isinstance(wanted, list) else str(raw).split(",")
        return [str(v) for v in value] == [str(v).strip() for v in typed]
    both = isinstance(value, bool) == isinstance(wanted, bool)  # 1 is not true
    return both and bool(value == wanted)


def _entrant(rows: pd.DataFrame, table: pd.DataFrame) -> Candidate:
    """Named by the settings that tell it from every other recorded configuration of its method."""
    method, configuration = str(rows["method"].iloc[0]), rows["configuration"].iloc[0]
    parts = dict(list(table[table["method"] == method].groupby("configuration")))
    settings = _settings(list(parts.values()))[list(parts).index(configuration)]
    return Candidate(
        method, f"{method} {settings}".strip(), configuration_title(method, settings), rows
    )


def _settings(parts: Sequence[pd.DataFrame]) -> list[str]:
    """For each configuration of a method the settings in which they differ, as typed."""
    params = [part["params"].iloc[0] for part in parts]
    keys = sorted({k for p in params for k in p if k.startswith(OF_A_METHOD)})
    odd = [k for k in keys if len({p.get(k) for p in params}) > 1]
    return [" ".join(f"{k.removeprefix('method.')}={p.get(k, '')}" for k in odd) for p in params]
