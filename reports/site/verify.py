"""Compute a site again, from the ledger or from the records it carries, and say what differs."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from harness.tracking.ledger import Ledger
from reports.provenance import diff, recompute
from reports.provenance.diff import Problem
from reports.provenance.manifest import code_hash, sha256_of
from reports.site import build
from reports.site.folder import COMPLETE, MANIFEST, SiteManifest, read_site_manifest
from reports.site.pages import sweep
from reports.site.records import (
    ANSWERS,
    RECORDS,
    TRIAL_RECORDS,
    FromLedger,
    FromRecords,
    LedgerOrRecords,
    Source,
    StoredSweep,
)

Where = Literal["auto", "ledger", "records"]


@dataclass
class Report:
    """What was found. ``here`` runs were looked up in the ledger, the others in the records."""

    runs: int = 0
    here: int = 0
    newer: int = 0
    files: int = 0
    tables: int = 0
    same_code: bool = True
    problems: list[Problem] = field(default_factory=list)


def verify_site(folder: Path, where: Where, ledger: Ledger | None) -> Report:
    """``ledger`` is None where there is none. Raises UsageError for what is not a site."""
    manifest = read_site_manifest(folder)
    report = Report(files=len(manifest.files), tables=len(manifest.tables))
    report.same_code = manifest.code == code_hash()
    if manifest.state != COMPLETE:
        report.problems.append(
            Problem(MANIFEST, "", "the site was not put in place to the end; build it again", "")
        )
    odd = _hashes(folder, manifest)
    report.problems += _foreign(folder, manifest)
    try:
        records = _records(folder, manifest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"cannot be read ({type(error).__name__}: {error})"
        report.problems += [*odd.values(), Problem(RECORDS, "", what, "")]
        return report
    chosen: Source = records
    known = [*records.runs, *records.tuned]
    report.runs = len(known)
    if where != "records" and ledger is not None:
        mixed = LedgerOrRecords(here := FromLedger(ledger), records)
        chosen, report.here = mixed, len(mixed.here)
        report.newer = len({run.id for run in here.runs} - {run.id for run in records.runs})
        report.problems += _sweeps(records.sweeps, here.sweeps)
        if where == "ledger":
            report.problems += [
                Problem(RECORDS, f"run {run.id}", "not in the ledger", "")
                for run in known
                if run.id not in mixed.here
            ]
    report.problems += _rebuilt(folder, manifest, chosen, odd, report.same_code)
    report.problems += recompute.accuracy_problems(RECORDS, chosen.runs, chosen.file)
    report.problems += _trials(chosen)
    return report


def _hashes(folder: Path, manifest: SiteManifest) -> dict[str, Problem]:
    """Files that are missing or not what the manifest says."""
    odd = {}
    for name, digest in sorted(manifest.files.items()):
        path = folder / name
        if not path.is_file():
            odd[name] = Problem(name, "", "missing", "")
            continue
        found = sha256_of(path.read_bytes())
        if found != digest:
            odd[name] = Problem(name, "SHA-256", found, digest)
    return odd


def _foreign(folder: Path, manifest: SiteManifest) -> list[Problem]:
    """Files that the manifest does not list; hidden ones are nobody's business."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and name not in manifest.files and name != MANIFEST:
            found.append(Problem(name, "", "not in the manifest", ""))
    return found


def _records(folder: Path, manifest: SiteManifest) -> FromRecords:
    sweeps = {}
    for name in manifest.files:
        if name.startswith("sweeps/") and name.endswith("/sweep.json"):
            facts = (folder / name).read_text(encoding="utf-8")
            trials = (folder / name).with_name("trials.csv")
            text = trials.read_text(encoding="utf-8") if trials.is_file() else ""
            sweeps[str(json.loads(facts)["name"])] = StoredSweep(facts, text)
    lines = (folder / RECORDS).read_text(encoding="utf-8")
    ordered = dict(sorted(sweeps.items()))
    tuned = (
        (folder / TRIAL_RECORDS).read_text(encoding="utf-8")
        if TRIAL_RECORDS in manifest.files
        else ""
    )
    return FromRecords(lines, (folder / ANSWERS).read_bytes(), ordered, tuned)


def _rebuilt(
    folder: Path, manifest: SiteManifest, chosen: Source, odd: dict[str, Problem], same_code: bool
) -> Iterator[Problem]:
    """Every file made again and compared; what a hash alone says comes last."""
    seen: set[str] = set()
    try:
        for file in build.site_files(chosen, drawn=False):  # another matplotlib draws other bytes
            seen.add(file.path)
            path = folder / file.path
            if file.path not in manifest.files:
                if same_code:
                    yield Problem(file.path, "", "missing, and not in the manifest", "")
                continue
            if not path.is_file():
                continue
            found = path.read_bytes()
            named = [] if found == file.data else list(_compared(file.path, found, file.data))
            yield from named
            if named:
                odd.pop(file.path, None)
            elif found == file.data and file.path in odd and not _given(file.path):
                hashes = manifest.files[file.path], sha256_of(file.data)
                odd[file.path] = Problem(MANIFEST, f"SHA-256 of {file.path}", *hashes)
            elif found != file.data and same_code and file.path not in odd and file.path != ANSWERS:
                yield Problem(
                    file.path, "", "differs from what the records give, outside of its tables", ""
                )
            for name, digest in file.tables:
                stated = manifest.tables.get(f"{file.path}#{name}")
                if stated != digest and not named and (stated is not None or same_code):
                    where = f"SHA-256 of table {name} on {file.path}"
                    yield Problem(MANIFEST, where, str(stated), digest)
    except Exception as error:  # records that were tampered with can break anything
        yield Problem(
            RECORDS, "", f"no site can be made of it ({type(error).__name__}: {error})", ""
        )
    else:
        for name in sorted(set(manifest.files) - seen):
            if name not in odd and same_code and not name.endswith(build.PICTURE_SUFFIXES):
                yield Problem(name, "", "nothing recorded makes it", "")
    yield from odd.values()


def _given(path: str) -> bool:
    """Whether a site is made of this file: then it is no proof of itself."""
    return path in (RECORDS, ANSWERS, TRIAL_RECORDS) or path.endswith(
        ("/sweep.json", "/trials.csv")
    )


def _compared(path: str, found: bytes, expected: bytes) -> Iterator[Problem]:
    try:
        yield from diff.compare_files(path, found, expected)
    except (ValueError, KeyError, TypeError) as error:
        yield Problem(path, "", f"cannot be read ({error})", "")


def _trials(chosen: Source) -> Iterator[Problem]:
    """Trials whose numbers are not the means of their runs'."""
    runs = [*chosen.runs, *chosen.tuned]
    for name, stored in chosen.sweeps.items():
        file = f"sweeps/{name}/trials.csv"
        try:
            if stored.trials:
                yield from recompute.trial_problems(file, sweep.read(stored), runs)
        except (ValueError, KeyError, TypeError) as error:
            yield Problem(file, "", f"cannot be read ({error})", "")


def _sweeps(mine: dict[str, StoredSweep], theirs: dict[str, StoredSweep]) -> Iterator[Problem]:
    """Trials as carried along against those stored here; a sweep may have gone on since."""
    for name in sorted(mine.keys() & theirs.keys()):
        if not mine[name].trials or not theirs[name].trials:
            continue
        tables = [
            pd.read_csv(io.StringIO(s.trials), dtype=str, keep_default_na=False).set_index("number")
            for s in (mine[name], theirs[name])
        ]
        file = f"sweeps/{name}/trials.csv"
        for number, row in tables[0].iterrows():
            if number not in tables[1].index:
                yield Problem(file, f"trial {number}", "not in the sweep that is stored here", "")
                continue
            there = tables[1].loc[number]
            for column in row.index:
                if row[column] != there.get(column, ""):
                    values = str(row[column]), str(there.get(column, ""))
                    yield Problem(file, f"trial {number}, {column}", *values)
