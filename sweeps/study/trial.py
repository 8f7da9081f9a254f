"""One trial: refused, stopped by its bound, pruned between or inside runs, failed, or complete.

A trial runs its method with its settings on every data set and seed of the sweep and takes the
mean. Its runs see training and validation images; the test split stays shut.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from optuna.trial import FrozenTrial, TrialState

from harness.cli import console
from harness.run import grouping
from harness.run.execute import check_spec, pick_device
from harness.run.pruning import PruningRule
from harness.spec import quantities
from harness.spec.spec import Spec
from harness.tracking import driver
from harness.tracking.driver import RunOutcome
from harness.tracking.ledger import Ledger
from methods.kit.core.errors import UsageError
from sweeps.space import objectives
from sweeps.study.front_bound import AUDIT, Bound, Point, best, drift
from sweeps.study.intermediate_values import Midway
from sweeps.study.optuna_study import ENDED, Study, Taken, decoded
from sweeps.study.sweep_plan import SweepPlan

End = Literal["complete", "refused", "capped", "bounded", "pruned", "failed"]
POLL = 0.5  # seconds between looks at a run that another process is at


@dataclass(frozen=True)
class Ended:
    """How a trial ended, and why when it was not complete."""

    number: int
    end: End
    why: str
    settings: str
    values: tuple[float, ...] = ()

    def sentence(self, names: Sequence[str]) -> str:
        head = f"trial {self.number}: {self.settings}: "
        if self.end != "complete":
            return f"{head}{self.end}: {self.why}"
        shown = (
            quantities.count_text(v) if objectives.direction(n) == "minimize" else f"{v:.2f}"
            for n, v in zip(names, self.values, strict=True)
        )
        return head + ", ".join(f"{n} {v}" for n, v in zip(names, shown, strict=True))


def ended_of(plan: SweepPlan, trial: FrozenTrial) -> Ended:
    """How a trial of the study ended, read from its record."""
    facts = trial.user_attrs
    overrides = facts.get("overrides", [])
    return Ended(
        trial.number,
        facts.get("end", "failed"),
        facts.get("why", "its worker died each time it was run"),
        " ".join(overrides[1 + len(plan.words) :]),
        tuple(trial.values or ()) if trial.state == TrialState.COMPLETE else (),
    )


class Stop(Exception):
    """A trial ends before all of its runs."""

    def __init__(self, end: End, why: str) -> None:
        super().__init__(why)
        self.end: End = end
        self.why = why


@dataclass(frozen=True)
class Bench:
    """Where trials are run."""

    study: Study
    ledger: Ledger
    device: str
    parent: str
    bars: console.ProgressBars

    @property
    def plan(self) -> SweepPlan:
        return self.study.plan


Asked = tuple[Spec, Midway]


def run_all(bench: Bench, taken: Sequence[Taken], cotrain: str) -> Iterator[Ended]:
    """Run trials to their ends, those of their runs side by side that ``cotrain`` allows.

    Raises KeyboardInterrupt, what has not ended given back.
    """
    going = {each: _course(bench, each) for each in taken}
    for each in taken:
        bench.study.note(each, side_by_side=len(taken))
    answers: dict[Taken, RunOutcome | None] = dict.fromkeys(taken)
    try:
        while going:
            asked: dict[Taken, Asked] = {}
            for each, answer in answers.items():
                ended = _advance(bench, each, going[each], answer, asked)
                if ended:
                    del going[each]
                    yield ended
            pairs = list(asked.values())
            answers = dict(zip(asked, _measured(bench, pairs, cotrain), strict=True))
    except BaseException:
        for each in going:
            bench.study.give_back(each)
        raise


def _advance(
    bench: Bench,
    taken: Taken,
    course: "Course",
    answer: RunOutcome | None,
    asked: dict[Taken, Asked],
) -> Ended | None:
    """Go on with a trial: to the next run that it asks for, or to its end."""
    study, plan = bench.study, bench.plan
    overrides = plan.overrides(taken.values)
    settings = " ".join(overrides[1 + len(plan.words) :])
    try:
        asked[taken] = course.send(answer)
        return None
    except StopIteration as over:
        means: dict[str, float] = over.value
        values = tuple(means[name] for name in plan.objectives)
        study.note(taken, end="complete", metrics=means)
        study.complete(taken, list(values))
        return Ended(taken.number, "complete", "", settings, values)
    except Stop as stop:
        study.note(taken, end=stop.end, why=stop.why)
        (study.fail if stop.end == "failed" else study.prune)(taken)
        return Ended(taken.number, stop.end, stop.why, settings)


Course = Generator[Asked, RunOutcome | None, dict[str, float]]


def _course(bench: Bench, taken: Taken) -> Course:
    """A trial asks for its runs one after another, and returns the mean of every recorded quantity.

    Raises Stop.
    """
    plan = bench.plan
    overrides = plan.overrides(taken.values)
    bench.study.note(taken, overrides=overrides, command=plan.command(taken.values))
    specs, counts = _counts(plan, taken)
    bench.study.note(taken, counts=counts)
    _capped(bench, taken, counts)
    history = _History(bench.study) if plan.bounded else None
    if history:
        history.judge(taken, counts)
    done: list[RunOutcome] = []
    for spec in specs:
        midway = Midway(bench.study, taken, spec, done)
        run = yield spec, midway
        assert run is not None
        if run.status == "pruned":
            raise Stop("pruned", midway.why)
        if not run.ok:
            raise Stop("failed", f"{driver.run_title(spec)}: {run.error}")
        midway.recall(bench.ledger, run)
        done.append(run)
        _noted(bench.study, taken, done)
        if len(done) < len(specs):
            _compare(bench, taken, history, counts, done)
    return _means(done)


def _measured(bench: Bench, asked: Sequence[Asked], cotrain: str) -> list[RunOutcome]:
    """The runs that trials ask for, side by side where they can be."""
    found: dict[str, RunOutcome] = {}
    with ExitStack() as claims:
        mine: dict[Spec, Midway] = {}
        for spec, midway in asked if len(asked) > 1 else ():
            if claims.enter_context(bench.ledger.claim(spec.digest())):
                run = bench.ledger.find(spec.digest(), test=False)
                if run is None:
                    mine[spec] = midway
                else:
                    found[spec.digest()] = driver.from_ledger(spec, run)
        for group in grouping.groups(list(mine), cotrain, 1, pick_device(bench.device)):
            watches = [mine[spec].watch for spec in group]
            for done in driver.run_and_record(
                group, bench.device, bench.ledger, bench.bars, bench.parent, False, watches
            ):
                found[done.spec.digest()] = done
    return [found.get(spec.digest()) or measure(bench, spec, m.watch) for spec, m in asked]


def measure(bench: Bench, spec: Spec, watch: PruningRule | None = None) -> RunOutcome:
    """A run on validation data: found in the ledger, or made now and recorded there."""
    ledger = bench.ledger
    while True:
        with ledger.claim(spec.digest()) as mine:
            if mine:
                found = ledger.find(spec.digest(), test=False)
                if found is not None:
                    return driver.from_ledger(spec, found)
                (done,) = driver.run_and_record(
                    [spec], bench.device, ledger, bench.bars, bench.parent, False, [watch]
                )
                return done
        time.sleep(POLL)  # another worker is at the very same run


def _counts(plan: SweepPlan, taken: Taken) -> tuple[list[Spec], dict[str, float]]:
    """The runs of a trial and its parameters, known before step 0."""
    try:
        specs = plan.specs(taken.values)
        found = [check_spec(spec) for spec in specs]
    except UsageError as error:
        raise Stop("refused", str(error)) from None
    names = [name.removeprefix("params/") for name in objectives.KNOWN_BEFORE]
    return specs, {f"params/{n}": fmean(getattr(c, n) for c in found) for n in names}


def _capped(bench: Bench, taken: Taken, counts: dict[str, float]) -> None:
    above = []
    for cap in bench.plan.caps:
        excess = counts[cap.name] - cap.limit
        bench.study.constrain(taken, cap.name, excess / max(cap.limit, 1))
        if excess > 0:
            above.append(f"{cap.name} {counts[cap.name]:,.0f} is above {cap.limit:,.0f}")
    if above:
        raise Stop("capped", "; ".join(above))


def _noted(study: Study, taken: Taken, done: Sequence[RunOutcome]) -> None:
    runs = [
        {
            "digest": d.spec.digest(),
            "data": d.spec.data.name,
            "seed": d.spec.seed,
            **{k: v for k, v in d.metrics.items() if k in quantities.VALIDATION},
        }
        for d in done
    ]
    study.note(taken, runs=runs)


def _compare(
    bench: Bench,
    taken: Taken,
    history: "_History | None",
    counts: dict[str, float],
    done: Sequence[RunOutcome],
) -> None:
    """Between two runs of a trial: is it worth going on? Raises Stop."""
    plan = bench.plan
    means = _means(done)
    if history:
        history.judge_again(taken, counts, [d.metrics[history.accuracy] for d in done])
    if len(plan.objectives) == 1:
        value = means[plan.objectives[0]]
        if bench.study.report(taken, plan.step(len(done)), value):
            reached = (
                f"{plan.objectives[0]} {value:.2f} after {len(done)} of {len(plan.cells)} runs"
            )
            raise Stop("pruned", reached)


def _means(done: Sequence[RunOutcome]) -> dict[str, float]:
    """H of a trial is the mean of its runs' H."""
    shared = set.intersection(*(set(d.metrics) for d in done))
    kept = sorted(
        k for k in shared if not k.startswith(("acc/", "ece/")) or k in quantities.VALIDATION
    )
    return {name: fmean(d.metrics[name] for d in done) for name in kept}


class _History:
    """What finished trials say about the next, where there are accuracy and a known cost."""

    def __init__(self, study: Study) -> None:
        plan = study.plan
        assert plan.bounded is not None
        a, c = plan.bounded
        self.study, self.plan = study, plan
        self.accuracy, self.cost = plan.objectives[a], plan.objectives[c]
        complete = [t for t in study.trials() if t.user_attrs.get("end") == "complete" and t.values]
        self.points = [
            Point(plan.unit(decoded(plan, t.params)), t.values[c], t.values[a]) for t in complete
        ]
        self.rows = [[r[self.accuracy] for r in t.user_attrs["runs"]] for t in complete]

    def judge(self, taken: Taken, counts: dict[str, float]) -> None:
        """Before the first run. Raises Stop when even the bound is not above the front."""
        point = Point(self.plan.unit(taken.values), counts[self.cost])
        bound = Bound(self.points)
        if not (bound.active and bound.stops(point)):
            return
        upper, there = bound.upper(point), best(self.points, point.cost)
        facts: dict[str, Any] = {"upper": upper, "front": there}
        earlier = sum("bound" in t.user_attrs for t in self.study.trials() if t.state in ENDED)
        audited = earlier % AUDIT == AUDIT - 1
        self.study.note(taken, bound={**facts, "audited": audited})
        if not audited:
            why = f"{self.accuracy} at most {upper:.2f}, and {there:.2f} is there for less"
            raise Stop("bounded", why)

    def judge_again(self, taken: Taken, counts: dict[str, float], so_far: list[float]) -> None:
        """Between runs. Raises Stop when the mean cannot rise above the front any more."""
        k = len(so_far)
        means = [[fmean(row[: i + 1]) for i in range(len(row))] for row in self.rows]
        upper = fmean(so_far) + drift(means, k)
        there = best(self.points, counts[self.cost])
        if upper <= there:
            why = (
                f"{self.accuracy} at most {upper:.2f} after {k} runs, {there:.2f} is there for less"
            )
            raise Stop("bounded", why)
