"""Commands about what is recorded: leaderboard, pareto."""

from pathlib import Path
from typing import Annotated

import typer

from harness.commands import Json, Tracking

Protocol = Annotated[str | None, typer.Option(help="Only this protocol.")]
Backbone = Annotated[str | None, typer.Option(help="Only this backbone.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the files; default runs/report.")]


def register(app: typer.Typer) -> None:
    app.command()(leaderboard)
    app.command()(pareto)


def leaderboard(
    protocol: Protocol = None,
    backbone: Backbone = None,
    out: Out = None,
    json: Json = False,
    tracking_uri: Tracking = None,
) -> None:
    """Compare what is recorded: a table here, leaderboard.md and leaderboard.csv as files."""
    from harness import console
    from harness.home import report_folder
    from reports import leaderboard as board_of
    from reports.build import collect

    found = collect(tracking_uri, protocol, backbone)
    paths = board_of.write(found, report_folder(out))
    if json:
        console.as_json([row for b in found for row in board_of.records(b)])
        return
    for board in found:
        console.table(*board_of.shown(board), board_of.title(board), board_of.OPTIONAL)
        for note in (*board.notes, *board_of.legend(board)):
            console.say(f"  {note}")
    console.say("written: " + ", ".join(str(p) for p in paths))


def pareto(
    cost: Annotated[str, typer.Option(help="What to pay: a recorded metric.")] = "params/trainable",
    quality: Annotated[
        str | None, typer.Option(help="What to gain: acc/hmean, acc/test, acc/base, acc/novel.")
    ] = None,
    protocol: Protocol = None,
    backbone: Backbone = None,
    out: Out = None,
    json: Json = False,
    tracking_uri: Tracking = None,
) -> None:
    """Draw accuracy against cost with the front: pareto.png, pareto.svg, pareto.csv."""
    from harness import console
    from harness.home import report_folder
    from reports import pareto as front_of
    from reports.build import collect, only

    board = only(collect(tracking_uri, protocol, backbone))
    quality = quality or board.headline
    front_of.check(board, cost, quality)
    found = front_of.points(board, cost, quality)
    paths = front_of.write(board, report_folder(out), cost, quality)
    if json:
        console.as_json([vars(p) for p in found])
        return
    rows = [["*" if p.front else "", p.label, p.cost, p.mean, p.low, p.high, p.n] for p in found]
    heads = ["front", "method", cost, quality, "low", "high", "seeds"]
    console.table(heads, rows, f"{board.protocol} on {board.backbone}, {front_of.where(board)}")
    console.say("written: " + ", ".join(str(p) for p in paths))
