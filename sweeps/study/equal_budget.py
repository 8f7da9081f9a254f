"""Equal-budget comparisons: each candidate is tuned with the same budget, its winner is tested.

A candidate is a method, perhaps with settings, as ``adaring form=adapter``. Each has a sweep of its
own on validation data, with the same number of trials or minutes of trials. The winner of each, the
best trial on validation data, is run again with fresh seeds that no trial has seen, and tested once
a seed.
"""

import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import methods
from harness.run import config
from harness.spec.spec import Spec
from methods.kit.core.errors import UsageError, unknown
from sweeps.space.definition import FIELDS, GENERATED, space_names
from sweeps.study.budget import Budget
from sweeps.study.request import SweepRequest, build_plan
from sweeps.study.sweep_plan import SweepPlan


@dataclass(frozen=True)
class Candidate:
    """A method, with settings that are fixed for it alone."""

    method: str
    words: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return " ".join((self.method, *(w.removeprefix("method.") for w in self.words)))

    @property
    def slug(self) -> str:
        """The label as part of a file name."""
        return re.sub(r"[^A-Za-z0-9._]+", "-", self.label).strip("-")


@dataclass(frozen=True)
class Comparison:
    """The candidates with their sweeps, the budget of each, and the seeds of the test."""

    name: str
    candidates: tuple[Candidate, ...]
    plans: tuple[SweepPlan, ...]
    budget: Budget
    seeds: tuple[int, ...]

    @property
    def note(self) -> str:
        """The description in MLflow."""
        names = ", ".join(c.label for c in self.candidates)
        seeds = ", ".join(str(s) for s in self.seeds)
        return (
            f"{names}: tuned for {self.budget} each on validation data, in sweeps of their own"
            f" ({', '.join(p.name for p in self.plans)}); the winners, tested with seeds {seeds},"
            f" are nested below.\n\n    ringbench report --sweep {self.name}"
        )

    def test_specs(self, plan: SweepPlan, winner: dict[str, Any] | None) -> tuple[Spec, ...]:
        """Return the tested runs of a winner, by its settings; none without a winner."""
        if winner is None:
            return ()
        data = dict.fromkeys(d for d, _ in plan.cells)
        words = [plan.run_words(winner, d, s) for s in self.seeds for d in data]
        return tuple(config.build(plan.preset, run) for run in words)


def read_candidate(text: str) -> Candidate:
    """Read ``adaring form=adapter train.lr=1e-3``: fields of the method need no ``method.``.

    Raises UsageError for an unknown method, and for settings of anything but the method and its
    training: data, seeds and backbone are the same for all.
    """
    try:
        method, *words = shlex.split(text) or [""]
    except ValueError as error:
        raise UsageError(f"--candidate {text!r}: {str(error).lower()}") from None
    fields = vars(methods.find(method)())
    full = [f"method.{w}" if w.partition("=")[0] in fields else w for w in words]
    other = next((w for w in full if not w.startswith(("method.", "train."))), None)
    if other is not None:
        key = other.partition("=")[0]
        if get_close_matches(key, fields):
            raise unknown(f"--candidate {text!r}: {key}", key, fields)
        raise UsageError(
            f"--candidate {text!r}: {other!r} sets neither the method nor train.*;"
            " what is the same for all stands outside"
        )
    return Candidate(method, tuple(full))


def build_comparison(
    candidates: Sequence[Candidate],
    words: Sequence[str],
    request: SweepRequest,
    budget: Budget,
    fresh: int,
) -> Comparison:
    """Build the comparison that a command describes, with ``fresh`` seeds for its test.

    ``words`` may begin with a generated space; else each candidate has its own space. Raises
    UsageError in one line.
    """
    slugs = [c.slug for c in candidates]  # the names of sweeps and files
    twice = next((c.label for c in candidates if slugs.count(c.slug) > 1), None)
    if twice:
        raise UsageError(f"--methods: {twice!r} is named twice")
    space = words[0] if words and "=" not in words[0] else None
    if space not in (None, *GENERATED):
        raise UsageError(f"{space!r}: with --methods the space is one of {', '.join(GENERATED)}")
    common = words[1:] if space else words
    plans = [
        build_plan(
            space or _own_space(c.method),
            [*common, *c.words, f"method={c.method}"],
            replace(request, name=request.name and f"{request.name}-{c.slug}"),
        )
        for c in candidates
    ]
    if any(len(p.objectives) > 1 for p in plans):
        raise UsageError("--methods: compares by one objective; say --objective once")
    if request.options.sampler == "grid":
        _check_grids(plans, budget)
    text = " ".join([*(p.digest() for p in plans), str(budget), str(fresh)])
    name = request.name or f"equal-budget-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    named = [replace(p, name=f"{name}-{c.slug}") for p, c in zip(plans, candidates, strict=True)]
    first = max(seed for p in plans for _, seed in p.cells) + 1
    seeds = tuple(range(first, first + fresh))
    return Comparison(name, tuple(candidates), tuple(named), budget, seeds)


def _own_space(method: str) -> str:
    """Return a method's space for such budgets, else the space of its name, else of its fields."""
    return next((n for n in (f"{method}_budget", method) if n in space_names()), FIELDS)


def _check_grids(plans: Sequence[SweepPlan], budget: Budget) -> None:
    """Raise UsageError unless the budget is every grid once, and that the same for all."""
    sizes = {len(p.grid()) for p in plans}
    if len(sizes) > 1:
        raise UsageError("--sampler grid: grids of methods differ in size; take another sampler")
    size = sizes.pop()
    if budget.trials != size:
        raise UsageError(f"--budget {budget}: with --sampler grid it is the whole grid, {size}")
