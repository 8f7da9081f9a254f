"""Commands about what is recorded: leaderboard, pareto, compare, report."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json, Out, Tracking

Protocol = Annotated[str | None, typer.Option(help="Only this protocol.")]
Backbone = Annotated[str | None, typer.Option(help="Only this backbone.")]
OfSweep = Annotated[str | None, typer.Option(help="A sweep: see `ringbench ls sweeps`.")]


def register(app: typer.Typer) -> None:
    app.command()(leaderboard)
    app.command()(pareto)
    app.command()(compare)
    app.command()(report)


def leaderboard(
    protocol: Protocol = None,
    backbone: Backbone = None,
    every: Annotated[
        bool,
        typer.Option(
            "--all", help="Show every configuration, not only the best of each by validation."
        ),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Update the table as runs come in, until Ctrl-C.")
    ] = False,
    seconds: Annotated[
        float, typer.Option("--every", min=0.1, help="Seconds between updates with --watch.")
    ] = 5.0,
    out: Out = None,
    json: Json = False,
    tracking_uri: Tracking = None,
) -> None:
    """Rank the recorded methods; writes leaderboard.md, .csv, .tex and .html.

    For multi_task it also writes the affinity of the tasks: affinity.csv, .png and .svg.
    """
    from functools import partial

    from harness.cli import console
    from harness.spec.paths import report_folder
    from methods.kit.core.errors import UsageError
    from reports.cli import output
    from reports.cli.watch import watch_boards
    from reports.provenance import manifest, rebuild
    from reports.tables.leaderboard import leaderboard_records

    collect = partial(output.collect_boards, tracking_uri, protocol, backbone, not every)
    if watch and json:
        raise UsageError("--watch shows a table; leave out --json")
    if watch:
        return watch_boards(collect, output.print_boards, seconds)
    boards, folder = collect(), report_folder(out)
    paths = manifest.write_manifest(rebuild.leaderboard_tables(boards, not every), folder)
    paths += output.write_affinities(boards, not every, folder, tracking_uri)
    if json:
        return console.as_json([row for b in boards for row in leaderboard_records(b)])
    output.print_boards(boards)
    output.print_published(tracking_uri, boards)
    return output.say_written(paths)


Cost = Annotated[
    str | None, typer.Option(help="The cost: a recorded metric; default params/trainable.")
]
Quality = Annotated[
    str | None, typer.Option(help="The quality: acc/hmean, acc/test, acc/base or acc/novel.")
]
ThirdQuantity = Annotated[
    str | None,
    typer.Option(help="A third quantity, such as time/train_seconds, shown as colour."),
]
Budgets = Annotated[
    list[str] | None,
    typer.Option(help="A budget of the cost, such as 50k: name the best method within it."),
]
PerData = Annotated[
    bool, typer.Option("--per-data", help="A panel for each data set instead of their average.")
]
Clouds = Annotated[
    list[str] | None,
    typer.Option(help="A sweep whose trials are shown faintly behind the front."),
]
AsCurves = Annotated[
    bool, typer.Option("--curves", help="Draw accuracy against size, a curve per method.")
]
Sweeps = Annotated[list[str] | None, typer.Option(help="A sweep; several with --curves.")]


def pareto(
    cost: Cost = None,
    quality: Quality = None,
    third: ThirdQuantity = None,
    at: Budgets = None,
    per_data: PerData = False,
    cloud: Clouds = None,
    curves: AsCurves = False,
    sweep: Sweeps = None,
    protocol: Protocol = None,
    backbone: Backbone = None,
    out: Out = None,
    json: Json = False,
    tracking_uri: Tracking = None,
) -> None:
    """Draw accuracy against cost with the Pareto front: pareto.png, .svg, .pdf and .csv.

    --sweep draws the trials of a sweep on validation data and the hypervolume over trials. --curves
    draws the sizes of each method as one curve.
    """
    from harness.spec.paths import report_folder
    from methods.kit.core.errors import UsageError
    from reports.cli.pareto import ParetoRequest, show_curves, show_front
    from reports.cli.sweep import show_sweep_front

    request = ParetoRequest(
        cost, quality, third, tuple(at or ()), per_data, tuple(cloud or ()), protocol, backbone,
        out, tracking_uri, json,
    )  # fmt: skip
    front_only = {"--third": third, "--at": at, "--per-data": per_data, "--cloud": cloud}
    option = next((name for name, value in front_only.items() if value), None)
    if option and (curves or sweep):
        raise UsageError(f"{option}: goes with the front of what is recorded, not with"
                         f" {'--curves' if curves else '--sweep'}")  # fmt: skip
    if sweep and (protocol or backbone):
        raise UsageError("--sweep: has its own protocol and backbone; leave those options out")
    if curves:
        return show_curves(request, sweep or ())
    if sweep and len(sweep) > 1:
        raise UsageError("--sweep: name one, or say --curves")
    if sweep:
        folder = out or report_folder() / sweep[0]
        return show_sweep_front(sweep[0], cost, quality, folder, tracking_uri, json)
    return show_front(request)


def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="METHOD METHOD...", help='Such as adaring, or "adaring ring_rank=4".'
        ),
    ],
    protocol: Protocol = None,
    backbone: Backbone = None,
    data: Annotated[str | None, typer.Option(help="Only these data sets, comma-separated.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="An accuracy; default acc/hmean, or acc/test in few_shot.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The method that all others are compared with.")
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Use the best of several configurations by validation.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Compare each of several configurations.")
    ] = False,
    out: Out = None,
    json: Json = False,
    tracking_uri: Tracking = None,
) -> None:
    """Compare methods on the same data sets, seeds and images, and say what exceeds noise."""
    from functools import cache

    from harness.cli import console
    from harness.spec.paths import report_folder
    from harness.tracking.ledger import open_ledger
    from reports.analyses.comparison_request import ComparisonRequest, compare_requested
    from reports.cli.comparison import print_comparison
    from reports.cli.output import say_written
    from reports.provenance import manifest, rebuild
    from reports.tables.comparison import comparison_records
    from reports.tables.sentence import comparison_sentence

    request = ComparisonRequest(
        tuple(names), baseline, protocol, backbone, data, metric, best, every
    )
    ledger = open_ledger(tracking_uri)
    compared = compare_requested(request, ledger.runs(), cache(ledger.predictions))
    tables = rebuild.compare_tables(request, compared)
    paths = manifest.write_manifest(tables, report_folder(out))
    if json:
        return console.as_json(comparison_records(compared.pairs))
    print_comparison(compared.pairs, compared.title, single=True)
    say_written(paths)
    for pair in compared.pairs:
        console.out.print(comparison_sentence(pair), soft_wrap=True, markup=False)
    return None


def report(
    sweep: OfSweep = None,
    map_: Annotated[
        str | None, typer.Option("--map", help="Two keys of the sweep: ring_rank,train.lr.")
    ] = None,
    best: Annotated[
        str | None, typer.Option(help="A key: show its best value for each setting of the others.")
    ] = None,
    out: Out = None,
    json: Json = False,
    tracking_uri: Tracking = None,
) -> None:
    """Build a site of all records (runs/site), or the files of one sweep or comparison."""
    from harness.cli import console
    from harness.spec.paths import home_folder, report_folder
    from methods.kit.core.errors import UsageError
    from reports.cli.output import say_written
    from reports.cli.sweep import write_sweep

    if sweep is not None:
        paths = write_sweep(
            sweep, out or report_folder() / sweep, tracking_uri, not json, map_, best
        )
    elif map_ or best:
        raise UsageError("--map and --best: name the sweep with --sweep NAME")
    else:
        return _site(out or home_folder() / "site", tracking_uri, json)
    if json:
        return console.as_json([str(p) for p in paths])
    return say_written(paths)


def _site(folder: Path, uri: str | None, json: bool) -> None:
    from harness.cli import console
    from harness.tracking.ledger import open_ledger
    from reports.site import build
    from reports.site.folder import write_site
    from reports.site.records import FromLedger

    manifest = write_site(lambda: build.site_files(FromLedger(open_ledger(uri))), folder)
    if json:
        return console.as_json([str(folder / name) for name in manifest.files])
    return console.say(f"written: {folder / 'index.html'} and {len(manifest.files) - 1} files more")
