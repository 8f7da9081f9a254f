"""Conditions: a key of a space is searched only where other keys have certain values.

"method.sites" = { choices = [["q"], ["v"]], when = { "method.form" = ["delta"] } }
"method.combine" = { choices = ["sum", "layer_gate"], unless = { "method.ranks" = [[]] } }

``when``: each of its keys has one of the values. ``unless``: a table, or a list of tables, none of
which holds as a whole. A key that is not searched has its default value, and conditions test that.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from methods.kit.core.errors import UsageError

Clause = tuple[tuple[str, tuple[str, ...]], ...]  # keys, each with its values as JSON text


@dataclass(frozen=True)
class Condition:
    """A clause that must hold and clauses that must not."""

    when: Clause = ()
    unless: tuple[Clause, ...] = ()

    def holds(self, values: Mapping[str, Any]) -> bool:
        return _holds(self.when, values) and not any(_holds(c, values) for c in self.unless)

    def may_hold(self, possible: Mapping[str, Sequence[Any] | None]) -> bool:
        """Return whether the condition can hold, given each key's possible values (None: any)."""

        def may(key: str, texts: tuple[str, ...]) -> bool:
            return possible[key] is None or any(_among(v, texts) for v in possible[key] or ())

        def must(key: str, texts: tuple[str, ...]) -> bool:
            return possible[key] is not None and all(_among(v, texts) for v in possible[key] or ())

        always_excluded = any(all(must(*term) for term in clause) for clause in self.unless)
        return all(may(*term) for term in self.when) and not always_excluded

    def values(self) -> list[tuple[str, Any]]:
        """Return every key with every value that is named."""
        clauses = (self.when, *self.unless)
        return [(k, json.loads(t)) for clause in clauses for k, texts in clause for t in texts]

    def __str__(self) -> str:
        parts = [f"when {_text(self.when)}"] if self.when else []
        return ", ".join([*parts, *(f"unless {_text(clause)}" for clause in self.unless)])


def read_condition(where: str, table: Mapping[str, Any]) -> Condition:
    """Read the condition of a dimension's TOML table. Raises UsageError that names the key."""
    unless = table.get("unless", [])
    clauses = unless if isinstance(unless, list) else [unless]
    return Condition(
        _clause(f"{where}: when", table["when"]) if "when" in table else (),
        tuple(_clause(f"{where}: unless", clause) for clause in clauses),
    )


def _clause(where: str, table: Any) -> Clause:
    if not isinstance(table, dict) or not table:
        raise UsageError(f"{where}: expected {{ KEY = [VALUES] }}, got {table!r}")
    for key, values in table.items():
        if not isinstance(values, list) or not values:
            raise UsageError(f"{where}: {key}: expected a list of values, got {values!r}")
    return tuple((key, tuple(json.dumps(v) for v in values)) for key, values in table.items())


def _holds(clause: Clause, values: Mapping[str, Any]) -> bool:
    return all(_among(values.get(key), texts) for key, texts in clause)


def _among(value: Any, texts: tuple[str, ...]) -> bool:
    """Return whether a value is one of the texts': 0 equals 0.0, but 1 does not equal true."""
    known = map(json.loads, texts)
    return any(value == v and isinstance(value, bool) == isinstance(v, bool) for v in known)


def _text(clause: Clause) -> str:
    return " and ".join(f"{key} is {' or '.join(texts)}" for key, texts in clause)
