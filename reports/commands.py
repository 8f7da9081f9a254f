"""Commands about what is recorded: leaderboard, pareto, report."""

from pathlib import Path
from typing import Annotated

import typer

from harness.commands import Json, Tracking

Protocol = Annotated[str | None, typer.Option(help="Only this protocol.")]
Backbone = Annotated[str | None, typer.Option(help="Only this backbone.")]
OfSweep = Annotated[str | None, typer.Option(help="A sweep: see `ringbench ls sweeps`.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the files; default runs/report.")]


def register(app: typer.Typer) -> None:
    app.command()(leaderboard)
    app.command()(pareto)
    app.command()(report)


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
    cost: Annotated[
        str | None, typer.Option(help="What to pay: a recorded metric; trainable parameters.")
    ] = None,
    quality: Annotated[
        str | None, typer.Option(help="What to gain: acc/hmean, acc/test, acc/base, acc/novel.")
    ] = None,
    sweep: OfSweep = None,
    protocol: Protocol = None,
    backbone: Backbone = None,
    out: Out = None,
    json: Json = False,
    tracking_uri: Tracking = None,
) -> None:
    """Draw accuracy against cost with the front: pareto.png, pareto.svg, pareto.csv.

    With --sweep the trials of a sweep on validation data, and the hypervolume as they came.
    """
    from harness import console
    from harness.home import report_folder
    from reports import build
    from reports import pareto as front_of
    from reports.build import collect, only

    if sweep is not None:
        return build.front_of_sweep(sweep, cost, quality, out or report_folder() / sweep, json)
    cost = cost or "params/trainable"
    board = only(collect(tracking_uri, protocol, backbone))
    quality = quality or board.headline
    front_of.check(board, cost, quality)
    found = front_of.points(board, cost, quality)
    paths = front_of.write(board, report_folder(out), cost, quality)
    if json:
        return console.as_json([vars(p) for p in found])
    rows = [["*" if p.front else "", p.label, p.cost, p.mean, p.low, p.high, p.n] for p in found]
    heads = ["front", "method", cost, quality, "low", "high", "seeds"]
    console.table(heads, rows, f"{board.protocol} on {board.backbone}, {front_of.where(board)}")
    return console.say("written: " + ", ".join(str(p) for p in paths))


def report(
    sweep: OfSweep = None,
    map_: Annotated[
        str | None, typer.Option("--map", help="Two keys of the sweep: ring_rank,train.lr.")
    ] = None,
    best: Annotated[
        str | None, typer.Option(help="A key: its best value for each setting of the others.")
    ] = None,
    out: Out = None,
    json: Json = False,
    tracking_uri: Tracking = None,
) -> None:
    """Write all tables and pictures: of everything recorded, or of one sweep or contest."""
    from harness import console
    from harness.home import report_folder
    from methods.kit.errors import UsageError
    from reports import build

    if sweep is not None:
        paths = build.sweep(
            sweep, out or report_folder() / sweep, tracking_uri, not json, map_, best
        )
    elif map_ or best:
        raise UsageError("--map and --best: say of which sweep, --sweep NAME")
    else:
        paths = build.everything(out or report_folder(), tracking_uri)
    if json:
        console.as_json([str(p) for p in paths])
    else:
        console.say("written: " + ", ".join(str(p) for p in paths))
