"""Rebuild a site from the ledger, or from the records it carries, and say what differs."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from harness.tracking.ledger import Ledger
from reports.provenance import diff, recompute
from reports.provenance.diff import Problem
from reports.provenance.file_check import FileCheck, Report
from reports.site import build
from reports.site.folder import COMPLETE, MANIFEST, SiteManifest, read_site_manifest
from reports.site.links import File
from reports.site.records import (
    ANSWERS,
    RECORDS,
    TRIAL_RECORDS,
    FromLedger,
    LedgerOrRecords,
    Source,
    StoredSweep,
    read_site_records,
)

Where = Literal["auto", "ledger", "records"]
SOURCES = (RECORDS, ANSWERS, TRIAL_RECORDS, "/sweep.json", "/trials.csv")  # ends of names


def verify_site(folder: Path, where: Where, ledger: Ledger | None) -> Report:
    """Check a site; ``ledger`` is None where there is none. Raises UsageError for other folders."""
    manifest = read_site_manifest(folder)
    names = sorted(manifest.files)
    check = FileCheck(folder, MANIFEST, manifest.files, manifest.code, names)
    report = Report(files=len(names), tables=len(manifest.tables), same_code=check.same_code)
    if manifest.state != COMPLETE:
        unfinished = "the site was not put in place completely; build it again"
        report.problems.append(Problem(MANIFEST, "", unfinished, ""))
    report.problems += _unlisted_files(folder, manifest)
    try:
        records = read_site_records(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"cannot be read ({type(error).__name__}: {error})"
        report.problems += [*check.hash_problems.values(), Problem(RECORDS, "", problem, "")]
        return report
    source: Source = records
    carried = [*records.runs, *records.tuned]
    report.runs = len(carried)
    if where != "records" and ledger is not None:
        source = both = LedgerOrRecords(recorded := FromLedger(ledger), records)
        report.here = len(both.here)
        report.newer = len({run.id for run in recorded.runs} - {run.id for run in records.runs})
        report.problems += _changed_trials(records.sweeps, recorded.sweeps)
        absent = [run.id for run in carried if run.id not in both.here and where == "ledger"]
        report.problems += [Problem(RECORDS, f"run {i}", "not in the ledger", "") for i in absent]
    report.problems += _compare_rebuilt(manifest, source, check)
    report.problems += recompute.accuracy_problems(RECORDS, source.runs, source.file)
    report.problems += _trial_problems(source)
    return report


def _unlisted_files(folder: Path, manifest: SiteManifest) -> Iterator[Problem]:
    """Yield files that the manifest does not list, except hidden ones."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not hidden and name.as_posix() not in {*manifest.files, MANIFEST}:
            yield Problem(name.as_posix(), "", "not in the manifest", "")


def _compare_rebuilt(manifest: SiteManifest, source: Source, check: FileCheck) -> Iterator[Problem]:
    """Rebuild and compare every file; what a hash alone says comes last."""
    rebuilt: set[str] = set()
    try:
        for file in build.site_files(source, drawn=False):  # another Matplotlib draws other bytes
            rebuilt.add(file.path)
            if file.path in manifest.files:
                problems = check.compare(file.path, file.data, file.path.endswith(SOURCES))
                yield from problems or _compare_table_hashes(manifest, file, check)
            elif check.same_code:
                yield Problem(file.path, "", "missing, and not in the manifest", "")
    except Exception as error:  # records that were tampered with can break anything
        problem = f"no site can be made of it ({type(error).__name__}: {error})"
        yield Problem(RECORDS, "", problem, "")
    else:
        for name in sorted(set(manifest.files) - rebuilt - set(check.hash_problems)):
            if check.same_code and not name.endswith(build.PICTURE_SUFFIXES):
                yield Problem(name, "", "no recorded run makes it", "")
    yield from check.hash_problems.values()


def _compare_table_hashes(
    manifest: SiteManifest, file: File, check: FileCheck
) -> Iterator[Problem]:
    for name, digest in file.tables:
        listed = manifest.tables.get(f"{file.path}#{name}")
        if listed != digest and (listed is not None or check.same_code):
            where = f"SHA-256 of table {name} on {file.path}"
            yield Problem(MANIFEST, where, str(listed), digest)


def _trial_problems(source: Source) -> Iterator[Problem]:
    """Yield trials whose numbers are not the means of their runs."""
    for name, stored in source.sweeps.items():
        file = f"sweeps/{name}/trials.csv"
        try:
            if stored.trials:
                runs = [*source.runs, *source.tuned]
                yield from recompute.trial_problems(file, stored.sweep, runs)
        except (ValueError, KeyError, TypeError) as error:
            yield Problem(file, "", f"cannot be read ({error})", "")


def _changed_trials(
    carried: dict[str, StoredSweep], stored: dict[str, StoredSweep]
) -> Iterator[Problem]:
    """Compare trials of the site with those stored here; a sweep may have gone on since."""
    for name in sorted(carried.keys() & stored.keys()):
        file, pair = f"sweeps/{name}/trials.csv", (carried[name], stored[name])
        if not all(one.trials for one in pair):
            continue
        found, expected = (_rows_by_number(one.trials) for one in pair)
        for number, row in found.items():
            if number not in expected:
                yield Problem(file, f"trial {number}", "not in the sweep that is stored here", "")
            else:
                known = {column: expected[number].get(column, "") for column in row}
                yield from diff.compare_values(file, f"trial {number}", row, known)


def _rows_by_number(trials: str) -> dict[str, dict[str, str]]:
    return {row["number"]: row for row in csv.DictReader(io.StringIO(trials))}
