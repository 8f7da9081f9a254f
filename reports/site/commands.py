"""The command that checks a site: verify."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.commands import Json, Tracking

if TYPE_CHECKING:
    from harness.ledger import Ledger

SHOWN = 100  # problems that are listed


def register(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    folder: Annotated[Path, typer.Argument(metavar="SITE", help="Made by `ringbench report`.")],
    source: Annotated[
        Literal["auto", "ledger", "records"],
        typer.Option(
            "--from",
            help="Where numbers are computed from: the ledger where it has the run and else the"
            " site's own records; only the ledger; or only the records.",
        ),
    ] = "auto",
    json: Json = False,
    tracking_uri: Tracking = None,
) -> int:
    """Compute every table of a site again and name each number, row and file that differs.

    Exit code 0 where all is equal, 1 where something differs, 2 for what is not a site.
    """
    from harness import console
    from reports.site import store
    from reports.site import verify as checking

    store.read(folder)  # refuse what is no site before a ledger is opened
    ledger = None if source == "records" else _ledger(source, tracking_uri)
    report = checking.verify(folder, source, ledger)
    problems = report.problems
    if json:
        facts = {**vars(report), "problems": [vars(p) for p in problems]}
        console.as_json(facts)
        return 1 if problems else 0
    for problem in problems[:SHOWN]:
        console.out.print(str(problem), soft_wrap=True, markup=False)
    if len(problems) > SHOWN:
        console.say(f"and {len(problems) - SHOWN} more; --json lists all")
    there = f"{report.here} from the ledger, {report.runs - report.here} from the site's records"
    console.say(f"{report.runs} runs ({there}), {report.files} files, {report.tables} tables")
    if not report.same_code:
        console.say("the site was made by another version: tables were compared, not whole pages")
    if report.newer:
        console.say(f"the ledger has {report.newer} runs that are not in the site")
    console.say(f"{len(problems)} things do not match" if problems else "all is equal")
    return 1 if problems else 0


def _ledger(source: str, uri: str | None) -> "Ledger | None":
    """The ledger, or None with ``auto`` where there is none. Raises UsageError."""
    from harness import console
    from harness.home import tracking_uri
    from harness.ledger import open_ledger
    from methods.kit.errors import UsageError

    there = uri or tracking_uri()
    file = there.removeprefix("sqlite:///")
    if source == "auto" and file != there and not Path(file).exists():
        return None
    try:
        return open_ledger(uri)
    except UsageError as error:
        if source == "ledger":
            raise
        console.say(f"the site's own records are used: {error}")
        return None
