"""Runs an equal-budget comparison: the sweep of each candidate, then the test of the winners."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from harness.spec.protocols import DEFINITIONS
from harness.spec.spec import Protocol, Spec
from harness.tracking import driver
from harness.tracking.driver import RunOutcome
from harness.tracking.ledger import open_ledger
from harness.tracking.sweep_record import COMPARISON
from sweeps.study.equal_budget import Candidate, Comparison
from sweeps.study.files import write_facts
from sweeps.study.search_loop import run_sweep
from sweeps.study.sweep_summary import SweepSummary
from sweeps.suite.drive import SpecList, finish_specs
from sweeps.suite.options import DriveOptions


@dataclass(frozen=True)
class Tuned:
    """A candidate after its sweep, and the tested runs of its winner."""

    candidate: Candidate
    sweep: SweepSummary
    specs: tuple[Spec, ...] = ()

    @property
    def overrides(self) -> list[str]:
        """The words of the best trial."""
        return list(self.sweep.best[0].user_attrs["overrides"]) if self.sweep.best else []


@dataclass(frozen=True)
class ComparisonResult:
    """The tuned candidates, the outcomes of their tested runs, and the exit code."""

    tuned: tuple[Tuned, ...]
    outcomes: tuple[RunOutcome, ...]
    code: int


def run_comparison(comparison: Comparison, options: DriveOptions) -> ComparisonResult:
    """Tune each candidate, then test the winners."""
    tuned: list[Tuned] = []
    for candidate, plan in zip(comparison.candidates, comparison.plans, strict=True):
        sweep = run_sweep(plan, comparison.budget, options)
        tuned.append(Tuned(candidate, sweep))
        _write(comparison, tuned)
        if sweep.stopped:
            return ComparisonResult((), (), 3)
    tuned = [
        Tuned(t.candidate, t.sweep, comparison.test_specs(t.sweep.plan, t.sweep.winner()))
        for t in tuned
    ]
    _write(comparison, tuned)
    outcomes, code = _test(comparison, tuned, options)
    return ComparisonResult(tuple(tuned), outcomes, max(code, *(t.sweep.code for t in tuned)))


def result_rows(result: ComparisonResult, protocol: Protocol) -> list[list[Any]]:
    """Return a row for each candidate, best first: validation, then means over the tested runs."""
    by_digest = {o.spec.digest(): o for o in result.outcomes}
    rows = []
    for tuned in result.tuned:
        runs = [by_digest[s.digest()] for s in tuned.specs if s.digest() in by_digest]
        metrics = [run.metrics for run in runs if run.ok]
        tested = DEFINITIONS[protocol].tested
        scores = [fmean(m[name] for m in metrics) if metrics else "-" for name in tested]
        trainable = int(metrics[0]["params/trainable"]) if metrics else "-"
        value = tuned.sweep.best[0].values[0] if tuned.sweep.best else "-"
        rows.append([tuned.candidate.label, value, *scores, trainable, len(metrics)])
    return sorted(rows, key=lambda row: -row[-3] if row[-3] != "-" else 1.0)


def _test(
    comparison: Comparison, tuned: Sequence[Tuned], options: DriveOptions
) -> tuple[tuple[RunOutcome, ...], int]:
    """Run the winners with the test split open; recorded runs are not repeated."""
    specs = tuple(dict.fromkeys(s for t in tuned for s in t.specs))
    wanted = SpecList(
        comparison.name, comparison.plans[0].protocol, "sweep", comparison.note, specs
    )
    progress = finish_specs(wanted, options)
    made = {o.spec.digest() for o in progress.outcomes}
    ledger = open_ledger(options.uri)
    recorded = [
        driver.from_ledger(spec, run)
        for spec in specs
        if spec.digest() not in made and (run := ledger.find(spec.digest()))
    ]
    return (*progress.outcomes, *recorded), progress.code


def _write(comparison: Comparison, tuned: Sequence[Tuned]) -> None:
    """Store the comparison for reports: its sweeps, its winners, and their tested runs."""
    first = comparison.plans[0]
    facts = {
        "kind": COMPARISON,
        "name": comparison.name,
        "protocol": first.protocol,
        "objective": first.objectives[0],
        "goal": str(comparison.budget),
        "seeds": list(comparison.seeds),
        "data": list(dict.fromkeys(d for d, _ in first.cells)),
        "methods": [
            {
                "method": t.candidate.method,
                "label": t.candidate.label,
                "sweep": t.sweep.plan.name,
                "overrides": t.overrides,
                "digests": [s.digest() for s in t.specs],
            }
            for t in tuned
        ],
    }
    write_facts(comparison.name, facts)
