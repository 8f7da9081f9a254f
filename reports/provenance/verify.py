"""Compute the tables beside a manifest again from the ledger, and say what differs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.tracking.ledger import Ledger
from harness.tracking.pending_records import PREDICTIONS
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.provenance import diff, rebuild, recompute, sweep_tables
from reports.provenance.diff import Problem
from reports.provenance.manifest import Manifest, TableSet, code_hash, find_manifest, sha256_of
from reports.results import sweeps

LEDGER = "the ledger"


@dataclass
class Report:
    """What was found. ``files`` were hashed, ``tables`` of them made again of ``runs`` runs;
    ``newer`` runs of the same kind were not among those, nor ``later`` trials of the sweep."""

    files: int = 0
    tables: int = 0
    runs: int = 0
    newer: int = 0
    later: int = 0
    same_code: bool = True
    problems: list[Problem] = field(default_factory=list)


def verify_tables(path: Path, ledger: Ledger) -> Report:
    """A file that a manifest beside it lists, or all files of a manifest.

    Raises UsageError for what is neither, and for a ledger that has none of the runs.
    """
    manifest, names = find_manifest(path)
    every = list(ledger.runs())
    wanted = set(manifest.read)
    runs = [run for run in every if run.id in wanted]
    if wanted and not runs:
        raise UsageError(
            f"{path}: none of its {len(wanted)} runs is in the ledger {ledger.uri};"
            " set RINGBENCH_HOME or --tracking-uri to where they were recorded"
        )
    report = Report(files=len(names), runs=len(runs))
    seen = manifest.settings.get("trials")
    if seen is None:
        report.newer = _newer(every, runs)
    else:
        report.later = sweep_tables.later(seen)
        report.problems += _trials(seen, every)
    report.same_code = manifest.code == code_hash()
    odd = _hashes(manifest, names)
    absent = sorted(wanted - {run.id for run in runs})
    if absent:
        report.problems += [Problem(LEDGER, f"run {run}", "missing", "") for run in absent]
    else:
        report.problems += _made_again(manifest, names, runs, ledger, odd, report)
    report.problems += odd.values()
    behind = (run for run in runs if run.id in manifest.runs)
    report.problems += recompute.accuracy_problems(
        LEDGER, behind, lambda run: ledger.artifact(run.id, PREDICTIONS)
    )
    return report


def _trials(names: Iterable[str], every: list[Run]) -> Iterator[Problem]:
    """Numbers of the stored trials that the ledger contradicts."""
    for name in (n for n in names if n in sweeps.names()):
        yield from recompute.trial_problems(
            f"sweeps/{name}/trials.csv", sweeps.read_sweep(name), every
        )


def _newer(every: list[Run], runs: list[Run]) -> int:
    """Runs of the same protocols and backbones that are not repeats of those that were read."""
    kinds, digests = {_kind(run) for run in runs}, {run.digest for run in runs}
    return sum(_kind(run) in kinds and run.digest not in digests for run in every)


def _kind(run: Run) -> tuple[str, str, bool]:
    return run.tags["protocol"], run.tags["backbone"], run.tested


def _hashes(manifest: Manifest, names: tuple[str, ...]) -> dict[str, Problem]:
    """Files that are missing or not what the manifest says."""
    odd = {}
    for name in names:
        path = manifest.path.with_name(name)
        if not path.is_file():
            odd[name] = Problem(name, "", "missing", "")
        elif (found := sha256_of(path.read_bytes())) != manifest.files[name]:
            odd[name] = Problem(name, "SHA-256", found, manifest.files[name])
    return odd


def _made_again(
    manifest: Manifest,
    names: tuple[str, ...],
    runs: list[Run],
    ledger: Ledger,
    odd: dict[str, Problem],
    report: Report,
) -> Iterator[Problem]:
    """Every number of the tables, and what the manifest says of their runs. What is named cell by
    cell is taken out of ``odd``."""
    try:
        made = rebuild.rebuild_tables(manifest.settings, runs, ledger)
    except (UsageError, ValueError, KeyError, TypeError) as error:  # of settings that were changed
        what = f"no tables can be made of it ({type(error).__name__}: {error})"
        yield Problem(manifest.path.name, "", what, "")
        return
    yield from _told(manifest, made)
    for name in (n for n in names if n in made.texts):
        path = manifest.path.with_name(name)
        if not path.is_file():
            continue
        report.tables += 1
        expected, found = made.texts[name].encode(), path.read_bytes()
        named = list(_compared(name, found, expected))
        yield from named
        if named:
            odd.pop(name, None)
        elif found == expected and name in odd:
            del odd[name]
            hashes = manifest.files[name], sha256_of(expected)
            yield Problem(manifest.path.name, f"SHA-256 of {name}", *hashes)
        elif found != expected and name not in odd and report.same_code:
            yield Problem(name, "", "differs from what the ledger gives", "")


def _told(manifest: Manifest, made: TableSet) -> Iterator[Problem]:
    """What the manifest says of its rows and runs against the ledger."""
    file = manifest.path.name
    yield from diff.compare_values(file, "runs", manifest.runs, made.runs)
    if len(manifest.rows) != len(made.rows):
        counts = f"{len(manifest.rows)} rows", f"{len(made.rows)} rows"
        yield Problem(file, "rows, length", *counts)
    for i, (mine, theirs) in enumerate(zip(manifest.rows, made.rows, strict=False)):
        yield from diff.compare_values(file, f"row {i + 1}", mine, theirs)


def _compared(name: str, found: bytes, expected: bytes) -> Iterator[Problem]:
    try:
        yield from diff.compare_files(name, found, expected)
    except ValueError as error:
        yield Problem(name, "", f"cannot be read ({error})", "")
