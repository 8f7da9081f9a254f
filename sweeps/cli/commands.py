"""Commands about many runs: suite, sweep."""

from typing import Annotated

import typer

from harness.cli.options import (
    Cache,
    Device,
    DryRun,
    Force,
    Json,
    Preset,
    Quiet,
    Steps,
    Threads,
    Tracking,
    Words,
)

Workers = Annotated[int, typer.Option(min=1, help="Local processes.")]
Cotrain = Annotated[
    str,
    typer.Option(
        metavar="K|auto|off", help="Runs trained side by side in a process: auto where it pays."
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(suite)
    app.command()(sweep)


def suite(
    preset: Preset,
    words: Words = None,
    workers: Workers = 1,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
    device: Device = "auto",
    threads: Threads = 0,
    cache: Cache = "auto",
    steps: Steps = "auto",
    cotrain: Cotrain = "auto",
    tracking_uri: Tracking = None,
) -> int:
    """Run methods x data sets x seeds: ringbench suite base_to_novel methods=lora,adaring seeds=1-3

    The same command again finishes what is missing and repeats nothing.
    """
    from sweeps.suite.build import build_suite

    plan = build_suite(preset, words or [], tracking_uri)  # refuses mistyped words without torch
    from harness.model import run_options
    from harness.run import grouping
    from sweeps.suite import execute

    run_options.use(run_options.RunOptions(steps, cache, threads))
    grouping.parse_size(cotrain)
    if dry_run:
        return execute.show(plan, tracking_uri, force, json)
    return execute.run(plan, device, tracking_uri, workers, force, quiet, json, cotrain)


def sweep(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SPACE] [KEY=VALUE]...",
            help="A space (`ringbench ls spaces`, or a TOML file), then fixed settings.",
        ),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Until so many ended; 40.")] = None,
    workers: Workers = 1,
    sampler: Annotated[str, typer.Option(help="tpe, gp, nsga2, grid or random.")] = "tpe",
    objective: Annotated[
        list[str] | None,
        typer.Option(help="One quantity or two, as acc/val_hmean,params/trainable."),
    ] = None,
    cap: Annotated[
        list[str] | None, typer.Option(help="A limit known before training: params/stored=50000.")
    ] = None,
    pruner: Annotated[
        str, typer.Option(help="Between and inside the runs of a trial: median, hyperband or none.")
    ] = "median",
    prune_points: Annotated[
        int | None,
        typer.Option(min=0, max=20, help="Looks inside each run, spread over its epochs; 3."),
    ] = None,
    bound: Annotated[
        bool, typer.Option(help="Stop trials that cannot enter the front before they train.")
    ] = True,
    methods: Annotated[
        str | None, typer.Option(help="Compare methods, each tuned within --budget.")
    ] = None,
    candidate: Annotated[
        list[str] | None,
        typer.Option(help="One more to compare, with settings: 'adaring form=adapter'."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Of each method: 30 trials, or 20m or 2h of trials.")
    ] = None,
    fresh: Annotated[
        int, typer.Option(min=0, help="Fresh seeds that test each winner; 0: none is tested.")
    ] = 3,
    name: Annotated[str | None, typer.Option(help="The sweep's name; made up if none.")] = None,
    preset: Annotated[str, typer.Option(help="See `ringbench ls presets`.")] = "base_to_novel",
    storage: Annotated[
        str | None, typer.Option(help="postgresql://... (needs ringbench[db]); else a file.")
    ] = None,
    sampler_seed: Annotated[int, typer.Option(min=0, help="Of the search itself.")] = 0,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
    device: Device = "auto",
    threads: Threads = 0,
    cache: Cache = "auto",
    steps: Steps = "auto",
    cotrain: Cotrain = "auto",
    tracking_uri: Tracking = None,
) -> int:
    """Search settings on validation data: ringbench sweep ring_rank data=emoji-things --trials 40

    The same command again goes on to the end. Comma lists of data sets and seeds are averaged in
    each trial. With --methods A,B --budget 30 every method gets the same tuning and each winner is
    tested with fresh seeds; each is searched in its own space, or all in `learning_rate` or
    `learning_rate_grid`.

    With one accuracy as the objective, a trial below the others is pruned between its runs and
    inside of them, at --prune-points looks on validation data. With accuracy and a parameter count,
    a trial that cannot enter the front is not trained (--no-bound trains all).

    Trials that are trained side by side (--cotrain) know nothing of each other's results, as those
    of several workers; where trials may be pruned, auto takes them one after another.
    """
    from harness.model import run_options
    from harness.run import grouping
    from sweeps.cli import requests
    from sweeps.study.search import Where
    from sweeps.study.sweep_plan import SweepOptions

    run_options.use(run_options.RunOptions(steps, cache, threads))
    grouping.parse_size(cotrain)
    options = SweepOptions(sampler, pruner, sampler_seed, bound, prune_points)
    where = Where(device, tracking_uri, storage, workers, quiet or json, cotrain)
    request = requests.Request(
        tuple(words or ()), preset, tuple(objective or ()), tuple(cap or ()), options, name
    )
    if methods is not None or candidate or budget is not None:
        return requests.contest(
            request, methods, candidate or (), budget, trials, fresh, where, dry_run, json
        )
    return requests.sweep(request, trials, where, dry_run, json)
