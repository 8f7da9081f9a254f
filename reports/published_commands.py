"""Commands about published numbers: published."""

from typing import Annotated

import typer

from harness.commands import Json, Tracking


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
    from harness import console
    from harness.ledger import open_ledger
    from reports import audit as auditing
    from reports import published as theirs

    if audit:
        checks = auditing.audit(theirs.numbers())
        heads, odd = auditing.HEADS, [c for c in checks if c.verdict != "consistent"]
        if json:
            cells = auditing.rows(checks)
            return console.as_json([dict(zip(heads, row, strict=True)) for row in cells])
        wrong = sum(c.verdict == "impossible" for c in odd)
        title = f"{len(checks)} sums done again, {wrong} impossible"
        return console.table(heads, auditing.rows(odd), title)
    found = theirs.beside(open_ledger(tracking_uri).runs())
    cells = theirs.rows(found)
    if json:
        return console.as_json([dict(zip(theirs.HEADS, row, strict=True)) for row in cells])
    if not found:
        known = len(theirs.numbers())
        return console.say(f"none of {known} published numbers is of a recorded configuration")
    return console.table(theirs.HEADS, theirs.coloured(cells), "ours beside published numbers")
