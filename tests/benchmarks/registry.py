"""Every row of the suite. A row is one function that yields cases; it registers itself here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module

from tests.benchmarks.measure import Case

MODULES = (
    "vision", "text", "frozen_features", "ring", "attention", "optimizer", "roofline", "precision",
    "input_pipeline", "evaluation", "whole_run", "sweep", "cotraining", "start_up",
)  # fmt: skip

Cases = Callable[[bool], Iterator[Case]]  # of whether it is to be quick


@dataclass(frozen=True)
class Row:
    """``about`` says in a sentence what is done, and against what."""

    name: str
    about: str
    cases: Cases


ROWS: dict[str, Row] = {}


def row(name: str, about: str) -> Callable[[Cases], Cases]:
    """Register a function as a row of the suite."""

    def add(cases: Cases) -> Cases:
        ROWS[name] = Row(name, about, cases)
        return cases

    return add


def find(words: list[str]) -> list[Row]:
    """The rows that words name, by their whole name or its beginning (``step``); all for none."""
    for module in MODULES:
        import_module(f"tests.benchmarks.{module}")
    for word in words:
        if not any(_named(name, word) for name in ROWS):
            raise SystemExit(f"no row {word!r}; there are {', '.join(ROWS)}")
    return [r for name, r in ROWS.items() if not words or any(_named(name, w) for w in words)]


def _named(name: str, word: str) -> bool:
    return name == word or name.startswith(word + ".")
