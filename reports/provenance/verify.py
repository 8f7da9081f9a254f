"""Rebuild the tables beside a manifest from the ledger and say what differs."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.tracking import sweep_record
from harness.tracking.ledger import Ledger
from harness.tracking.pending_records import PREDICTIONS
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.provenance import diff, rebuild, recompute, sweep_tables
from reports.provenance.diff import Problem
from reports.provenance.file_check import FileCheck, Report
from reports.provenance.manifest import Manifest, TableSet, find_manifest
from reports.results import sweep_results

LEDGER = "the ledger"


def verify_tables(path: Path, ledger: Ledger) -> Report:
    """Check a file that a manifest beside it lists, or all files of a manifest.

    Raises UsageError for a file that is neither, and for a ledger that has none of the runs.
    """
    place, manifest, names = find_manifest(path)
    recorded = list(ledger.runs())
    missing = set(manifest.read) - {run.id for run in recorded}
    runs = [run for run in recorded if run.id in set(manifest.read)]
    if missing and not runs:
        raise UsageError(
            f"{path}: none of its {len(missing)} runs is in the ledger {ledger.uri};"
            " set RINGBENCH_HOME or --tracking-uri to where they were recorded"
        )
    check = FileCheck(place.parent, place.name, manifest.files, manifest.code, names)
    report = Report(files=len(names), runs=len(runs), here=len(runs), same_code=check.same_code)
    trials = manifest.settings.get("trials")
    if trials is None:
        report.newer = _newer_runs(recorded, runs)
    else:
        report.later = sweep_tables.later_trials(trials)
        report.problems += _trial_problems(trials, recorded)
    if missing:
        report.problems += [Problem(LEDGER, f"run {run}", "missing", "") for run in sorted(missing)]
    else:
        report.problems += _compare_rebuilt(manifest, names, runs, ledger, check, report)
    report.problems += check.hash_problems.values()
    behind = (run for run in runs if run.id in manifest.runs)
    report.problems += recompute.accuracy_problems(
        LEDGER, behind, lambda run: ledger.artifact(run.id, PREDICTIONS)
    )
    return report


def _trial_problems(names: Iterable[str], recorded: list[Run]) -> Iterator[Problem]:
    """Yield numbers of the stored trials that the ledger contradicts."""
    for name in (n for n in names if n in sweep_record.sweep_names()):
        file = f"sweeps/{name}/trials.csv"
        yield from recompute.trial_problems(file, sweep_results.load_sweep(name), recorded)


def _newer_runs(recorded: list[Run], runs: list[Run]) -> int:
    """Count the runs of the same protocols and backbones that do not repeat one of ``runs``."""
    kinds, digests = {_kind(run) for run in runs}, {run.digest for run in runs}
    return sum(_kind(run) in kinds and run.digest not in digests for run in recorded)


def _kind(run: Run) -> tuple[str, str, bool]:
    return run.tags["protocol"], run.tags["backbone"], run.tested


def _compare_rebuilt(
    manifest: Manifest,
    names: tuple[str, ...],
    runs: list[Run],
    ledger: Ledger,
    check: FileCheck,
    report: Report,
) -> Iterator[Problem]:
    """Yield differing numbers of the tables, and of what the manifest says of their runs."""
    try:
        rebuilt = rebuild.rebuild_tables(manifest.settings, runs, ledger)
    except (UsageError, ValueError, KeyError, TypeError) as error:  # settings that were changed
        problem = f"no tables can be made of it ({type(error).__name__}: {error})"
        yield Problem(check.manifest, "", problem, "")
        return
    yield from _compare_manifest(check.manifest, manifest, rebuilt)
    for name in (n for n in names if n in rebuilt.texts):
        report.tables += (check.folder / name).is_file()
        yield from check.compare(name, rebuilt.texts[name].encode())


def _compare_manifest(file: str, manifest: Manifest, rebuilt: TableSet) -> Iterator[Problem]:
    yield from diff.compare_values(file, "runs", manifest.runs, rebuilt.runs)
    if len(manifest.rows) != len(rebuilt.rows):
        counts = f"{len(manifest.rows)} rows", f"{len(rebuilt.rows)} rows"
        yield Problem(file, "rows, length", *counts)
    for i, (row, other) in enumerate(zip(manifest.rows, rebuilt.rows, strict=False), 1):
        yield from diff.compare_values(file, f"row {i}", row, other)
