"""When a key of a space is searched at all: only where other keys have certain values.

"method.sites" = { choices = [["q"], ["v"]], when = { "method.form" = ["delta"] } }
"method.combine" = { choices = ["sum", "layer_gate"], unless = { "method.ranks" = [[]] } }

``when``: each of its keys has one of the values. ``unless``: a table, or a list of tables, none of
which holds as a whole. A key that is not searched has its usual value, and conditions see that.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from methods.kit.core.errors import UsageError

Clause = tuple[tuple[str, tuple[str, ...]], ...]  # keys, each with its values as JSON text


@dataclass(frozen=True)
class Condition:
    """What must hold, and what must not."""

    when: Clause = ()
    unless: tuple[Clause, ...] = ()

    def holds(self, values: Mapping[str, Any]) -> bool:
        return _all(self.when, values) and not any(_all(c, values) for c in self.unless)

    def may_hold(self, possible: Mapping[str, Sequence[Any] | None]) -> bool:
        """Whether it can hold where keys are one of the values that are possible (None: any)."""

        def some(key: str, texts: tuple[str, ...]) -> bool:
            return possible[key] is None or any(_among(v, texts) for v in possible[key] or ())

        def surely(clause: Clause) -> bool:
            return all(
                possible[key] is not None and all(_among(v, texts) for v in possible[key] or ())
                for key, texts in clause
            )

        return all(some(*term) for term in self.when) and not any(map(surely, self.unless))

    def values(self) -> list[tuple[str, Any]]:
        """Every key with every value that is named."""
        clauses = (self.when, *self.unless)
        return [(k, json.loads(t)) for clause in clauses for k, texts in clause for t in texts]

    def __str__(self) -> str:
        said = [f"when {_text(self.when)}"] if self.when else []
        said += [f"unless {_text(clause)}" for clause in self.unless]
        return ", ".join(said)


ALWAYS = Condition()


def read(where: str, table: Mapping[str, Any]) -> Condition:
    """The condition of a dimension's table. Raises UsageError that names the key."""
    unless = table.get("unless", [])
    several = unless if isinstance(unless, list) else [unless]
    return Condition(
        _clause(f"{where}: when", table["when"]) if "when" in table else (),
        tuple(_clause(f"{where}: unless", one) for one in several),
    )


def _clause(where: str, table: Any) -> Clause:
    if not isinstance(table, dict) or not table:
        raise UsageError(f"{where}: expected {{ KEY = [VALUES] }}, got {table!r}")
    for key, values in table.items():
        if not isinstance(values, list) or not values:
            raise UsageError(f"{where}: {key}: expected a list of values, got {values!r}")
    return tuple((key, tuple(json.dumps(v) for v in values)) for key, values in table.items())


def _all(clause: Clause, values: Mapping[str, Any]) -> bool:
    return all(_among(values.get(key), texts) for key, texts in clause)


def _among(value: Any, texts: tuple[str, ...]) -> bool:
    return any(_same(json.loads(text), value) for text in texts)


def _same(one: Any, other: Any) -> bool:
    """0 is 0.0, but 1 is not true."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _text(clause: Clause) -> str:
    return " and ".join(f"{key} is {' or '.join(texts)}" for key, texts in clause)
