"""The command that checks a site or tables: verify."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.options import Json, Tracking

if TYPE_CHECKING:
    from harness.tracking.ledger import Ledger
    from reports.provenance.file_check import Report

LISTED = 100  # problems
Where = Literal["auto", "ledger", "records"]


def register(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="SITE|TABLE",
            help="A site of `ringbench report`, a table such as runs/report/leaderboard.csv, or the"
            " manifest beside it.",
        ),
    ],
    source: Annotated[
        Where,
        typer.Option(
            "--from",
            help="Source of a site's numbers; auto: the ledger where it has the run, else the"
            " site's records.",
        ),
    ] = "auto",
    json: Json = False,
    tracking_uri: Tracking = None,
) -> int:
    """Recompute the tables of a site, or one table, and name each number that differs.

    Exit code 0 if everything is equal, 1 if something differs, 2 for what cannot be checked.
    """
    from harness.cli import console

    report = (_check_site if path.is_dir() else _check_tables)(path, source, tracking_uri)
    if json:
        console.as_json({**vars(report), "problems": [vars(p) for p in report.problems]})
    else:
        _print(report, path.is_dir())
    return 1 if report.problems else 0


def _check_site(folder: Path, source: Where, uri: str | None) -> "Report":
    from reports.site.folder import read_site_manifest
    from reports.site.verify import verify_site

    read_site_manifest(folder)  # refuse other folders before a ledger is opened
    return verify_site(folder, source, None if source == "records" else _ledger(source, uri))


def _check_tables(path: Path, source: Where, uri: str | None) -> "Report":
    from harness.tracking.ledger import open_ledger
    from methods.kit.core.errors import UsageError
    from reports.provenance.manifest import find_manifest
    from reports.provenance.verify import verify_tables

    find_manifest(path)  # refuse other files before a ledger is opened
    if source == "records":
        raise UsageError("--from records: goes with a site; tables are computed from the ledger")
    if not _ledger_exists(uri):
        raise UsageError(
            f"{path}: there is no ledger here to compute it from; set RINGBENCH_HOME"
            " or --tracking-uri to where its runs were recorded"
        )
    return verify_tables(path, open_ledger(uri))


def _print(report: "Report", is_site: bool) -> None:
    from harness.cli import console

    for problem in report.problems[:LISTED]:
        console.out.print(str(problem), soft_wrap=True, markup=False)
    if len(report.problems) > LISTED:
        console.say(f"and {len(report.problems) - LISTED} more; --json lists all")
    if is_site:
        carried = f"{report.runs - report.here} from the site's records"
        console.say(
            f"{report.runs} runs ({report.here} from the ledger, {carried}),"
            f" {report.files} files, {report.tables} tables"
        )
    else:
        rebuilt = f"{report.tables} rebuilt from {report.runs} runs of the ledger"
        console.say(f"files: {report.files} hashed, {rebuilt}")
    if not report.same_code:
        console.say("written by another version: numbers were compared, not whole files")
    if report.newer:
        kind = "that are not in the site" if is_site else "of this protocol and backbone"
        console.say(f"the ledger has {report.newer} more runs {kind}")
    if report.later:
        console.say(f"the sweep has {report.later} more trials by now")
    count = len(report.problems)
    console.say(f"{count} things do not match" if count else "all is equal")


def _ledger_exists(uri: str | None) -> bool:
    """Return whether there is a store; opening one that is missing would create it."""
    from harness.spec.paths import tracking_uri

    address = uri or tracking_uri()
    file = address.removeprefix("sqlite:///")
    return file == address or Path(file).exists()


def _ledger(source: Where, uri: str | None) -> "Ledger | None":
    """Return the ledger, or with ``auto`` None where there is none. Raises UsageError."""
    from harness.cli import console
    from harness.tracking.ledger import open_ledger
    from methods.kit.core.errors import UsageError

    if source == "auto" and not _ledger_exists(uri):
        return None
    try:
        return open_ledger(uri)
    except UsageError as error:
        if source == "ledger":
            raise
        console.say(f"the site's own records are used: {error}")
        return None
