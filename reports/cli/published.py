"""Commands about published numbers: published."""

from typing import Annotated

import typer

from harness.cli.options import Json, Tracking


def register(app: typer.Typer) -> None:
    app.command()(published)


def published(
    audit: Annotated[
        bool, typer.Option("--audit", help="Do the tables' own sums again instead.")
    ] = False,
    json: Json = False,
    tracking_uri: Tracking = None,
) -> None:
    """Show recorded results beside published ones of the same protocol, data, model and template.

    --audit recomputes the published means and harmonic means and names what cannot be.
    """
    from harness.cli import console
    from harness.tracking.ledger import open_ledger
    from reports.published import numbers
    from reports.published.audit import AUDIT_COLUMNS, audit_rows, audit_tables

    if audit:
        checks = audit_tables(numbers.published_numbers())
        heads, odd = AUDIT_COLUMNS, [c for c in checks if c.verdict != "consistent"]
        if json:
            cells = audit_rows(checks)
            return console.as_json([dict(zip(heads, row, strict=True)) for row in cells])
        wrong = sum(c.verdict == "impossible" for c in odd)
        title = f"{len(checks)} sums done again, {wrong} impossible"
        return console.table(heads, audit_rows(odd), title)
    found = numbers.match_published(open_ledger(tracking_uri).runs())
    cells = numbers.match_rows(found)
    if json:
        return console.as_json(
            [dict(zip(numbers.MATCH_COLUMNS, row, strict=True)) for row in cells]
        )
    if not found:
        known = len(numbers.published_numbers())
        return console.say(f"none of {known} published numbers is of a recorded configuration")
    return console.table(
        numbers.MATCH_COLUMNS, numbers.coloured_cells(cells), "ours beside published numbers"
    )
