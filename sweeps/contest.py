"""Equal budgets: every method is tuned for as long as every other, then its winner is tested.

Each method has a sweep of its own on validation data, with the same number of trials or minutes of
trials. The winner of each, the best trial on validation data, is run again with fresh seeds that
no trial has seen, and tested once a seed.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import methods
from harness import config, console
from harness.ledger import open_ledger
from harness.one import Done
from harness.spec import Spec
from methods.kit.errors import UsageError
from sweeps import export, plan, search, space
from sweeps.plan import Options, Plan
from sweeps.search import Found, Where
from sweeps.study import Goal
from sweeps.workers import run_all

TESTED = {"base_to_novel": ("acc/base", "acc/novel", "acc/hmean"), "few_shot": ("acc/test",)}


@dataclass(frozen=True)
class Contest:
    """Methods, each with its sweep, the budget of each, and the seeds of the test."""

    name: str
    plans: tuple[Plan, ...]
    goal: Goal
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Tested:
    """A method's winner: what it reached in tuning, and its tested runs."""

    method: str
    sweep: Found
    specs: tuple[Spec, ...]


def build(
    names: Sequence[str],
    words: Sequence[str],
    preset: str,
    objective: Sequence[str],
    cap: Sequence[str],
    options: Options,
    goal: Goal,
    fresh: int,
    name: str | None = None,
) -> Contest:
    """The contest that a command describes. Raises UsageError in one line."""
    if len(set(names)) < len(names):
        raise UsageError("--methods: a method is named twice")
    for method in names:
        methods.find(method)
    if options.sampler == "grid":
        raise UsageError("--sampler grid: grids of methods differ in size; take another sampler")
    first = [_plan(m, words, preset, objective, cap, options, None) for m in names]
    if any(len(p.objectives) > 1 for p in first):
        raise UsageError("--methods: compares by one objective; say --objective once")
    text = " ".join([*(p.digest() for p in first), str(goal), str(fresh)])
    title = name or f"contest-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    plans = tuple(_plan(m, words, preset, objective, cap, options, f"{title}-{m}") for m in names)
    start = max(seed for p in plans for _, seed in p.cells) + 1
    return Contest(title, plans, goal, tuple(range(start, start + fresh)))


def run(contest: Contest, where: Where) -> tuple[list[Tested], list[Done], int]:
    """Tune each method, then test the winners; returns them, the runs, and the exit code."""
    found = []
    for p in contest.plans:
        found.append(search.run(p, contest.goal, where))
        _write(contest, [Tested(f.plan.space.method, f, ()) for f in found])
        if found[-1].stopped:
            return [], [], 3
    tested = [Tested(f.plan.space.method, f, _specs(f, contest.seeds)) for f in found]
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


def table(tested: Sequence[Tested], done: Sequence[Done], protocol: str) -> list[list[Any]]:
    """A row a method, best first: validation, then means over the tested runs."""
    rows = []
    by_digest = {d.spec.digest(): d for d in done}
    for t in tested:
        runs = [by_digest[s.digest()] for s in t.specs if s.digest() in by_digest]
        ok = [d.metrics for d in runs if d.ok]
        scores = [fmean(m[name] for m in ok) if ok else "-" for name in TESTED[protocol]]
        trainable = int(ok[0]["params/trainable"]) if ok else "-"
        value = t.sweep.best[0].values[0] if t.sweep.best else "-"
        rows.append([t.method, value, *scores, trainable, len(ok)])
    return sorted(rows, key=lambda row: -row[-3] if row[-3] != "-" else 1.0)


def _plan(
    method: str,
    words: Sequence[str],
    preset: str,
    objective: Sequence[str],
    cap: Sequence[str],
    options: Options,
    name: str | None,
) -> Plan:
    """A method's sweep: in its space for such budgets, in that of its name, or of its fields."""
    known = space.names()
    wanted = next((n for n in (f"{method}_budget", method) if n in known), space.FIELDS)
    mine = [*words, f"method={method}"]
    return plan.build(wanted, mine, preset, objective, cap, options, name)


def _specs(found: Found, seeds: Sequence[int]) -> tuple[Spec, ...]:
    values = found.winner()
    if values is None:
        return ()
    data = list(dict.fromkeys(d for d, _ in found.plan.cells))
    return tuple(
        config.build(found.plan.preset, found.plan.paste(values, d, s)) for s in seeds for d in data
    )


def _test(contest: Contest, tested: Sequence[Tested], where: Where) -> tuple[list[Done], int]:
    """Run the winners with the test split open; what is recorded is not repeated."""
    ledger = open_ledger(where.uri)
    group = ledger.group(contest.name, contest.plans[0].protocol, "sweep")
    done: list[Done] = []
    todo = []
    for spec in dict.fromkeys(s for t in tested for s in t.specs):
        recorded = ledger.find(spec.digest())
        if recorded is None:
            todo.append(spec)
        else:
            done.append(Done(spec, recorded.status, recorded.metrics, found=True))
    bars = console.Bars(len(todo), where.quiet)
    stopped = False
    with bars.shown():
        try:
            for ended in run_all(todo, where.device, where.uri, group, where.workers, bars):
                done.append(ended)
        except KeyboardInterrupt:
            stopped = True
    failed = sum(not d.ok for d in done)
    left = len(todo) - sum(d.ok and not d.found for d in done)
    ledger.end_group(group, complete=not left)
    return done, 3 if stopped else 1 if failed else 0


def _write(contest: Contest, tested: Sequence[Tested]) -> None:
    """Keep the contest for reports: its sweeps, its winners, and the digests of their tests."""
    first = contest.plans[0]
    facts = {
        "kind": "contest",
        "name": contest.name,
        "protocol": first.protocol,
        "objective": first.objectives[0],
        "goal": str(contest.goal),
        "seeds": list(contest.seeds),
        "data": list(dict.fromkeys(d for d, _ in first.cells)),
        "methods": [
            {
                "method": t.method,
                "sweep": t.sweep.plan.name,
                "overrides": t.sweep.best[0].user_attrs["overrides"] if t.sweep.best else [],
                "digests": [s.digest() for s in t.specs],
            }
            for t in tested
        ],
    }
    place = export.folder(contest.name)
    place.mkdir(parents=True, exist_ok=True)
    export.put(place / export.FACTS, json.dumps(facts, indent=2) + "\n")
