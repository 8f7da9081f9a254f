"""The command that checks a site or tables: verify."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.cli.options import Json, Tracking

if TYPE_CHECKING:
    from harness.tracking.ledger import Ledger
    from reports.provenance.diff import Problem

SHOWN = 100  # problems that are listed
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

    Exit code 0 where all is equal, 1 where something differs, 2 for what cannot be checked.
    """
    check = _site if path.is_dir() else _tables
    return check(path, source, json, tracking_uri)


def _site(folder: Path, source: Where, json: bool, uri: str | None) -> int:
    from harness.cli import console
    from reports.site.folder import read_site_manifest
    from reports.site.verify import verify_site

    read_site_manifest(folder)  # refuse what is no site before a ledger is opened
    report = verify_site(folder, source, None if source == "records" else _ledger(source, uri))
    if json:
        return _as_json(report)
    _list(report.problems)
    there = f"{report.here} from the ledger, {report.runs - report.here} from the site's records"
    console.say(f"{report.runs} runs ({there}), {report.files} files, {report.tables} tables")
    if not report.same_code:
        console.say("the site was made by another version: tables were compared, not whole pages")
    if report.newer:
        console.say(f"the ledger has {report.newer} runs that are not in the site")
    return _end(report.problems)


def _tables(path: Path, source: Where, json: bool, uri: str | None) -> int:
    from harness.cli import console
    from harness.tracking.ledger import open_ledger
    from methods.kit.core.errors import UsageError
    from reports.provenance import manifest
    from reports.provenance.verify import verify_tables

    manifest.find_manifest(path)  # refuse what is no table before a ledger is opened
    if source == "records":
        raise UsageError("--from records: goes with a site; tables are computed from the ledger")
    if not _recorded(uri):
        raise UsageError(f"{path}: there is no ledger here to compute it from; set RINGBENCH_HOME"
                         " or --tracking-uri to where its runs were recorded")  # fmt: skip
    report = verify_tables(path, open_ledger(uri))
    if json:
        return _as_json(report)
    _list(report.problems)
    made = f"{report.tables} made again of {report.runs} runs of the ledger"
    console.say(f"files: {report.files} hashed, {made}")
    if not report.same_code:
        console.say("written by another version: numbers were compared, not whole files")
    if report.newer:
        console.say(f"the ledger has {report.newer} more runs of this protocol and backbone")
    if report.later:
        console.say(f"the sweep has {report.later} more trials by now")
    return _end(report.problems)


def _as_json(report: Any) -> int:
    from harness.cli import console

    console.as_json({**vars(report), "problems": [vars(p) for p in report.problems]})
    return 1 if report.problems else 0


def _list(problems: "list[Problem]") -> None:
    from harness.cli import console

    for problem in problems[:SHOWN]:
        console.out.print(str(problem), soft_wrap=True, markup=False)
    if len(problems) > SHOWN:
        console.say(f"and {len(problems) - SHOWN} more; --json lists all")


def _end(problems: "list[Problem]") -> int:
    from harness.cli import console

    console.say(f"{len(problems)} things do not match" if problems else "all is equal")
    return 1 if problems else 0


def _recorded(uri: str | None) -> bool:
    """Return whether a store exists; opening the ledger would create one."""
    from harness.spec.paths import tracking_uri

    there = uri or tracking_uri()
    file = there.removeprefix("sqlite:///")
    return file == there or Path(file).exists()


def _ledger(source: Where, uri: str | None) -> "Ledger | None":
    """Return the ledger, or None with ``auto`` where there is none. Raises UsageError."""
    from harness.cli import console
    from harness.tracking.ledger import open_ledger
    from methods.kit.core.errors import UsageError

    if source == "auto" and not _recorded(uri):
        return None
    try:
        return open_ledger(uri)
    except UsageError as error:
        if source == "ledger":
            raise
        console.say(f"the site's own records are used: {error}")
        return None
