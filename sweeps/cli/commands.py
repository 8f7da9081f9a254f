"""The commands ``suite`` and ``sweep``."""

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
    typer.Option(metavar="K|auto|off", help="Runs co-trained in a process; auto: where it pays."),
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
    from harness.model import run_options
    from sweeps.suite.build import build_suite
    from sweeps.suite.options import DriveOptions

    run_options.use(run_options.RunOptions(steps, cache, threads))
    options = DriveOptions(device, tracking_uri, None, workers, cotrain, force, quiet, json)
    plan = build_suite(preset, words or [], tracking_uri)
    from harness.run import grouping
    from sweeps.suite import execute

    grouping.parse_size(cotrain)
    return execute.show_plan(plan, options) if dry_run else execute.run_suite(plan, options)


SweepWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SPACE] [KEY=VALUE]...",
        help="A space (`ringbench ls spaces`, or a TOML file), then fixed settings.",
    ),
]
TrialCount = Annotated[int | None, typer.Option(min=1, help="Trials in all; default 40.")]
SamplerName = Annotated[str, typer.Option(help="tpe, gp, nsga2, grid or random.")]
Objectives = Annotated[
    list[str] | None,
    typer.Option(help="One quantity or two, as acc/val_hmean,params/trainable."),
]
Caps = Annotated[
    list[str] | None, typer.Option(help="A limit known before training: params/stored=50000.")
]
PrunerName = Annotated[
    str, typer.Option(help="Between and inside the runs of a trial: median, hyperband or none.")
]
PrunePoints = Annotated[
    int | None,
    typer.Option(min=0, max=20, help="Validation checkpoints inside each run; default 3."),
]
UseBound = Annotated[
    bool, typer.Option(help="Stop trials that cannot enter the front before they train.")
]
Methods = Annotated[
    str | None, typer.Option(help="Methods to compare, each tuned within --budget.")
]
Candidates = Annotated[
    list[str] | None,
    typer.Option(help="One more to compare, with settings: 'adaring form=adapter'."),
]
Budget = Annotated[
    str | None, typer.Option(help="Of each candidate: 30 trials, or 20m or 2h of trials.")
]
FreshSeeds = Annotated[
    int, typer.Option(min=0, help="Fresh seeds that test each winner; 0: no test.")
]
SweepName = Annotated[str | None, typer.Option(help="Name of the sweep; default generated.")]
PresetName = Annotated[str, typer.Option(help="See `ringbench ls presets`.")]
Storage = Annotated[
    str | None, typer.Option(help="postgresql://... (needs ringbench[db]); default a file.")
]
SamplerSeed = Annotated[int, typer.Option(min=0, help="Seed of the sampler.")]


def sweep(
    words: SweepWords = None,
    trials: TrialCount = None,
    workers: Workers = 1,
    sampler: SamplerName = "tpe",
    objective: Objectives = None,
    cap: Caps = None,
    pruner: PrunerName = "median",
    prune_points: PrunePoints = None,
    bound: UseBound = True,
    methods: Methods = None,
    candidate: Candidates = None,
    budget: Budget = None,
    fresh: FreshSeeds = 3,
    name: SweepName = None,
    preset: PresetName = "base_to_novel",
    storage: Storage = None,
    sampler_seed: SamplerSeed = 0,
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

    The same command again continues to the end. Comma lists of data sets and seeds are averaged in
    each trial. With --methods A,B --budget 30 every method is tuned equally long, in its own space
    or in `learning_rate`, and each winner is tested with fresh seeds.

    With one accuracy as the objective, trials below the others are pruned. With accuracy and a
    parameter count, a trial that cannot enter the front is not trained. Co-trained trials do not
    see each other's results; where trials may be pruned, --cotrain auto takes one after another.
    """
    from harness.model import run_options
    from sweeps.cli import sweep_command
    from sweeps.study.request import SweepRequest
    from sweeps.study.sweep_plan import SweepOptions
    from sweeps.suite.options import DriveOptions

    run_options.use(run_options.RunOptions(steps, cache, threads))
    options = DriveOptions(device, tracking_uri, storage, workers, cotrain, quiet=quiet, json=json)
    search = SweepOptions(sampler, pruner, sampler_seed, bound, prune_points)
    request = SweepRequest(
        preset, tuple(objective or ()), tuple(cap or ()), search, name, tracking_uri
    )
    asked = sweep_command.ComparisonRequest(methods, candidate or (), budget, fresh, trials)
    if asked.given:
        comparison = sweep_command.plan_comparison(words or (), request, asked)
        return sweep_command.compare(comparison, options, dry_run)
    plan, goal = sweep_command.plan_sweep(words or (), request, trials)
    return sweep_command.sweep(plan, goal, options, dry_run)
