"""Equal budgets: every method is tuned for as long as every other, then its winner is tested.

Methods may stand several times with different settings, as ``adaring form=adapter``. Each has
a sweep of its own on validation data, with the same number of trials or minutes of
trials. The winner of each, the best trial on validation data, is run again with fresh seeds that
no trial has seen, and tested once a seed.
"""

import hashlib
import importlib
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from statistics import fmean
from typing import Any

import methods
from harness.cli import console
from harness.run import config
from harness.spec.protocols import DEFINITIONS
from harness.spec.spec import Spec
from harness.tracking import sweep_record
from harness.tracking.driver import RunOutcome
from harness.tracking.ledger import open_ledger
from methods.kit.core.errors import UsageError, unknown
from sweeps.space import definition
from sweeps.study import files, search, sweep_plan
from sweeps.study.optuna_study import Goal
from sweeps.study.search import Found, Where
from sweeps.study.sweep_plan import SweepOptions, SweepPlan
from sweeps.suite.workers import run_all

TESTED: dict[str, tuple[str, ...]] = {name: p.tested for name, p in DEFINITIONS.items()}


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
class EqualBudgetComparison:
    """Who takes part, the sweep and budget of each, and the seeds of the test."""

    name: str
    candidates: tuple[Candidate, ...]
    plans: tuple[SweepPlan, ...]
    goal: Goal
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Tested:
    """A method's winner: what it reached in tuning, and its tested runs."""

    candidate: Candidate
    sweep: Found
    specs: tuple[Spec, ...]


def read_candidate(text: str) -> Candidate:
    """``adaring form=adapter train.lr=1e-3``: fields of the method need no ``method.``.

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


def build(
    candidates: Sequence[Candidate],
    wanted: str | None,
    words: Sequence[str],
    preset: str,
    objective: Sequence[str],
    cap: Sequence[str],
    options: SweepOptions,
    goal: Goal,
    fresh: int,
    name: str | None = None,
    uri: str | None = None,
) -> EqualBudgetComparison:
    """The contest that a command describes, in each one's own space or in the space ``wanted``.

    Raises UsageError in one line.
    """
    slugs = [e.slug for e in candidates]  # what sweeps and files are called by
    twice = next((e.label for e in candidates if slugs.count(e.slug) > 1), None)
    if twice:
        raise UsageError(f"--methods: {twice!r} is named twice")
    if wanted not in (None, *definition.MADE):
        raise UsageError(
            f"{wanted!r}: with --methods the space is one of {', '.join(definition.MADE)}"
        )

    def plans(title: str | None) -> list[SweepPlan]:
        return [
            _plan(e, wanted, words, preset, objective, cap, options,
                  f"{title}-{e.slug}" if title else None, uri)
            for e in candidates
        ]  # fmt: skip

    first = plans(None)
    if any(len(p.objectives) > 1 for p in first):
        raise UsageError("--methods: compares by one objective; say --objective once")
    if options.sampler == "grid":
        _check_grids(first, goal)
    text = " ".join([*(p.digest() for p in first), str(goal), str(fresh)])
    title = name or f"contest-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    named = tuple(plans(title))
    start = max(seed for p in named for _, seed in p.cells) + 1
    return EqualBudgetComparison(
        title, tuple(candidates), named, goal, tuple(range(start, start + fresh))
    )


def _check_grids(plans: Sequence[SweepPlan], goal: Goal) -> None:
    """Raises UsageError unless the budget is every grid once, and that the same for all."""
    sizes = {len(p.grid()) for p in plans}
    if len(sizes) > 1:
        raise UsageError("--sampler grid: grids of methods differ in size; take another sampler")
    size = sizes.pop()
    if goal.trials != size:
        raise UsageError(f"--budget {goal}: with --sampler grid it is the whole grid, {size}")


def run(contest: EqualBudgetComparison, where: Where) -> tuple[list[Tested], list[RunOutcome], int]:
    """Tune each method, then test the winners; returns them, the runs, and the exit code."""
    found = []
    for p in contest.plans:
        found.append(search.run(p, contest.goal, where))
        pairs = zip(contest.candidates, found, strict=False)  # the rest are still to be tuned
        _write(contest, [Tested(e, f, ()) for e, f in pairs])
        if found[-1].stopped:
            return [], [], 3
    tested = [
        Tested(e, f, _specs(f, contest.seeds))
        for e, f in zip(contest.candidates, found, strict=True)
    ]
    _write(contest, tested)
    done, code = _test(contest, tested, where)
    return tested, done, max(code, *(f.code for f in found))


def budget(text: str) -> Goal:
    """``30`` trials, ``20m`` or ``2h`` of trials. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mh]?)", text.strip())
    amount = float(match[1]) if match else 0.0
    if match and match[2] and amount > 0:
        return Goal(seconds=amount * {"m": 60, "h": 3600}[match[2]])
    if match and amount >= 1 and amount == int(amount) and "." not in match[1]:
        return Goal(trials=int(amount))
    raise UsageError(f"--budget {text!r}: expected trials or time, as 30, 20m or 2h")


def table(tested: Sequence[Tested], done: Sequence[RunOutcome], protocol: str) -> list[list[Any]]:
    """A row for each candidate, best first: validation, then means over the tested runs."""
    rows = []
    by_digest = {d.spec.digest(): d for d in done}
    for t in tested:
        runs = [by_digest[s.digest()] for s in t.specs if s.digest() in by_digest]
        ok = [d.metrics for d in runs if d.ok]
        scores = [fmean(m[name] for m in ok) if ok else "-" for name in TESTED[protocol]]
        trainable = int(ok[0]["params/trainable"]) if ok else "-"
        value = t.sweep.best[0].values[0] if t.sweep.best else "-"
        rows.append([t.candidate.label, value, *scores, trainable, len(ok)])
    return sorted(rows, key=lambda row: -row[-3] if row[-3] != "-" else 1.0)


def _plan(
    who: Candidate,
    wanted: str | None,
    words: Sequence[str],
    preset: str,
    objective: Sequence[str],
    cap: Sequence[str],
    options: SweepOptions,
    name: str | None,
    uri: str | None,
) -> SweepPlan:
    """The sweep of one: in the space wanted, else in its method's for such budgets, in that of its
    name, or of its fields.
    """
    known, method = definition.names(), who.method
    own = next((n for n in (f"{method}_budget", method) if n in known), definition.FIELDS)
    mine = [*words, *who.words, f"method={method}"]
    return sweep_plan.build(wanted or own, mine, preset, objective, cap, options, name, uri)


def _specs(found: Found, seeds: Sequence[int]) -> tuple[Spec, ...]:
    values = found.winner()
    if values is None:
        return ()
    data = list(dict.fromkeys(d for d, _ in found.plan.cells))
    return tuple(
        config.build(found.plan.preset, found.plan.paste(values, d, s)) for s in seeds for d in data
    )


def _test(
    contest: EqualBudgetComparison, tested: Sequence[Tested], where: Where
) -> tuple[list[RunOutcome], int]:
    """Run the winners with the test split open; what is recorded is not repeated."""
    ledger = open_ledger(where.uri)
    group = ledger.start_parent(contest.name, contest.plans[0].protocol, "sweep", _note(contest))
    done: list[RunOutcome] = []
    todo = []
    for spec in dict.fromkeys(s for t in tested for s in t.specs):
        recorded = ledger.find(spec.digest())
        if recorded is None:
            todo.append(spec)
        else:
            done.append(RunOutcome(spec, recorded.status, recorded.metrics, recorded=True))
    bars = console.ProgressBars(len(todo), where.quiet)
    stopped = False
    with bars.shown():
        try:
            for ended in run_all(
                todo, where.device, where.uri, group, where.workers, bars, where.cotrain
            ):
                done.append(ended)
        except KeyboardInterrupt:
            stopped = True
    failed = sum(not d.ok for d in done)
    left = len(todo) - sum(d.ok and not d.recorded for d in done)
    ledger.end_parent(group, complete=not left)
    if todo and not left:
        digests = [s.digest() for t in tested for s in t.specs]
        importlib.import_module(search.REPORTS).suite(where.uri, group, digests)
    return done, 3 if stopped else 1 if failed else 0


def _note(contest: EqualBudgetComparison) -> str:
    """What a person reads about it in MLflow."""
    names = ", ".join(e.label for e in contest.candidates)
    seeds = ", ".join(str(s) for s in contest.seeds)
    return (
        f"{names}: tuned for {contest.goal} each on validation data, in sweeps of their own"
        f" ({', '.join(p.name for p in contest.plans)}); the winners, tested with seeds {seeds},"
        f" are nested below.\n\n    ringbench report --sweep {contest.name}"
    )


def _write(contest: EqualBudgetComparison, tested: Sequence[Tested]) -> None:
    """Keep the contest for reports: its sweeps, its winners, and the digests of their tests."""
    first = contest.plans[0]
    facts = {
        "kind": sweep_record.COMPARISON,
        "name": contest.name,
        "protocol": first.protocol,
        "objective": first.objectives[0],
        "goal": str(contest.goal),
        "seeds": list(contest.seeds),
        "data": list(dict.fromkeys(d for d, _ in first.cells)),
        "methods": [
            {
                "method": t.candidate.method,
                "label": t.candidate.label,
                "sweep": t.sweep.plan.name,
                "overrides": t.sweep.best[0].user_attrs["overrides"] if t.sweep.best else [],
                "digests": [s.digest() for s in t.specs],
            }
            for t in tested
        ],
    }
    place = sweep_record.sweep_folder(contest.name, create=True)
    files.put(place / sweep_record.FACTS, json.dumps(facts, indent=2) + "\n")
