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
        typer.Option("--all", help="Every configuration; default the best of each by validation."),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again as runs come in, until Ctrl-C.")
    ] = False,
    seconds: Annotated[
        float, typer.Option("--every", min=0.1, help="Seconds between looks with --watch.")
    ] = 5.0,
    out: Out = None,
    json: Json = False,
    tracking_uri: Tracking = None,
) -> None:
    """Compare what is recorded: a table here; leaderboard.md, .csv, .tex and .html as files.

    Of multi_task also the affinity of the tasks: affinity.csv, .png and .svg.
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
    found = collect()
    paths = manifest.write_manifest(
        rebuild.leaderboard_tables(found, not every), report_folder(out)
    )
    paths += output.write_affinities(found, not every, report_folder(out), tracking_uri)
    if json:
        return console.as_json([row for b in found for row in leaderboard_records(b)])
    output.print_boards(found)
    output.print_published(tracking_uri, found)
    return console.say("written: " + ", ".join(str(p) for p in paths))


def pareto(
    cost: Annotated[
        str | None, typer.Option(help="What to pay: a recorded metric; trainable parameters.")
    ] = None,
    quality: Annotated[
        str | None, typer.Option(help="What to gain: acc/hmean, acc/test, acc/base, acc/novel.")
    ] = None,
    third: Annotated[
        str | None, typer.Option(help="A third quantity, as time/train_seconds: shown as colour.")
    ] = None,
    at: Annotated[
        list[str] | None, typer.Option(help="A budget of the cost: what is best with 50k?")
    ] = None,
    per_data: Annotated[
        bool, typer.Option("--per-data", help="A panel for each data set, not their average.")
    ] = False,
    cloud: Annotated[
        list[str] | None, typer.Option(help="A sweep whose trials are shown faintly behind.")
    ] = None,
    curves: Annotated[
        bool, typer.Option("--curves", help="Accuracy against size, a curve a method.")
    ] = False,
    sweep: Annotated[
        list[str] | None, typer.Option(help="A sweep; with --curves also several.")
    ] = None,
    protocol: Protocol = None,
    backbone: Backbone = None,
    out: Out = None,
    json: Json = False,
    tracking_uri: Tracking = None,
) -> None:
    """Draw accuracy against cost with the front: pareto.png, .svg, .pdf and .csv.

    With --sweep the trials of a sweep on validation data, and the hypervolume as they came. With
    --curves each method's sizes as one curve.
    """
    from harness.spec.paths import report_folder
    from methods.kit.core.errors import UsageError
    from reports.cli import output
    from reports.cli.pareto import ParetoRequest, show_curves, show_front

    wanted = ParetoRequest(cost, quality, third, tuple(at or ()), per_data, tuple(cloud or ()))
    more = {"--third": third, "--at": at, "--per-data": per_data, "--cloud": cloud}
    odd = next((name for name, value in more.items() if value), None)
    if odd and (curves or sweep):
        raise UsageError(f"{odd}: goes with the front of what is recorded, not with"
                         f" {'--curves' if curves else '--sweep'}")  # fmt: skip
    if sweep and (protocol or backbone):
        raise UsageError("--sweep: has its own protocol and backbone; leave those options out")
    if curves:
        return show_curves(wanted, sweep or (), protocol, backbone, out, tracking_uri, json)
    if sweep and len(sweep) > 1:
        raise UsageError("--sweep: name one, or say --curves")
    if sweep:
        folder = out or report_folder() / sweep[0]
        return output.show_sweep_front(sweep[0], cost, quality, folder, tracking_uri, json)
    return show_front(wanted, protocol, backbone, out, tracking_uri, json)


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
        str | None, typer.Option(help="One of the methods; all others are compared with it.")
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Of several configurations the best by validation.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Each of several configurations for itself.")
    ] = False,
    out: Out = None,
    json: Json = False,
    tracking_uri: Tracking = None,
) -> None:
    """Compare methods on the same data sets, seeds and images, and say what is more than noise."""
    from functools import cache

    from harness.cli import console
    from harness.spec.paths import report_folder
    from harness.tracking.ledger import open_ledger
    from reports.analyses import comparison_request
    from reports.provenance import manifest, rebuild
    from reports.tables import comparison
    from reports.tables.sentence import comparison_sentence

    asked = comparison_request.ComparisonRequest(
        tuple(names), baseline, protocol, backbone, data, metric, best, every
    )
    ledger = open_ledger(tracking_uri)
    compared = comparison_request.compare_requested(asked, ledger.runs(), cache(ledger.predictions))
    found, title = compared.pairs, compared.title
    paths = manifest.write_manifest(rebuild.compare_tables(asked, compared), report_folder(out))
    if json:
        console.as_json(comparison.comparison_records(found))
        return
    console.table(
        comparison.PAIR_COLUMNS, comparison.pair_rows(found), title, comparison.OPTIONAL_COLUMNS
    )
    if len(found) == 1:
        console.table(
            comparison.DATASET_COLUMNS[2:], [row[2:] for row in comparison.dataset_rows(found)]
        )
    for note in comparison.comparison_notes(found):
        console.say(f"  {note}")
    console.say("written: " + ", ".join(str(p) for p in paths))
    for one in found:
        console.out.print(comparison_sentence(one), soft_wrap=True, markup=False)


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
    """Build a site of everything recorded (runs/site), or the files of one sweep or contest."""
    from harness.cli import console
    from harness.spec.paths import home_folder, report_folder
    from methods.kit.core.errors import UsageError
    from reports.cli import output

    if sweep is not None:
        paths = output.write_sweep(
            sweep, out or report_folder() / sweep, tracking_uri, not json, map_, best
        )
    elif map_ or best:
        raise UsageError("--map and --best: say of which sweep, --sweep NAME")
    else:
        return _site(out or home_folder() / "site", tracking_uri, json)
    if json:
        return console.as_json([str(p) for p in paths])
    return console.say("written: " + ", ".join(str(p) for p in paths))


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
