"""Commands about many runs: suite."""

from typing import Annotated

import typer

from harness.commands import Device, DryRun, Force, Json, Quiet, Threads, Tracking, Words


def register(app: typer.Typer) -> None:
    app.command()(suite)


def suite(
    preset: Annotated[str, typer.Argument(help="A preset: see `ringbench ls presets`.")],
    words: Words = None,
    workers: Annotated[int, typer.Option(min=1, help="Local processes.")] = 1,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
    device: Device = "auto",
    threads: Threads = 0,
    tracking_uri: Tracking = None,
) -> int:
    """Run methods x data sets x seeds: ringbench suite base_to_novel methods=lora,adaring seeds=1-3

    The same command again finishes what is missing and repeats nothing.
    """
    from harness import one
    from sweeps import grid
    from sweeps.suite import build

    one.use_threads(threads)
    plan = build(preset, words or [])
    if dry_run:
        return grid.show(plan, tracking_uri, force, json)
    return grid.run(plan, device, tracking_uri, workers, force, quiet, json)
