"""Commands about single runs and the installation: run, ls, params, doctor, view."""

from typing import Annotated, Any

import typer

from harness.cli import options


def register(app: typer.Typer) -> None:
    app.command()(run)
    app.command("ls")(list_)
    app.command()(params)
    app.command()(doctor)
    app.command()(view)


def run(
    preset: options.Preset,
    words: options.Words = None,
    force: options.Force = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    cache: options.Cache = "auto",
    steps: options.Steps = "auto",
    tracking_uri: options.Tracking = None,
) -> int:
    """Train, test and record one method. A finished run is not repeated."""
    from harness.cli import console, run_output
    from harness.run import config

    spec = config.build(preset, words or [])  # refuses mistyped words before torch is imported
    from harness.model import run_options
    from harness.tracking import driver, source_lookup

    run_options.use(run_options.RunOptions(steps, cache, threads))
    spec = source_lookup.resolve_source_runs(spec, tracking_uri)
    if dry_run:
        return run_output.show_plan(spec, json)
    bars = console.ProgressBars(1, quiet or json)
    done = driver.run(spec, device, force, tracking_uri, bars)
    return run_output.show_outcome(done, json, quiet)


def list_(
    what: Annotated[
        str,
        typer.Argument(
            help="methods, datasets, backbones, protocols, presets, spaces, sweeps or runs."
        ),
    ],
    json: options.Json = False,
    tracking_uri: options.Tracking = None,
) -> None:
    """List what is available, or what is recorded."""
    from harness.cli import console, listing

    columns, rows = listing.read_listing(what, tracking_uri)
    if json:
        console.as_json(console.records(columns, rows))
    else:
        console.table([listing.TITLES.get(name, name) for name in columns], rows)


def params(
    method: Annotated[str, typer.Argument(help="A method: see `ringbench ls methods`.")],
    words: options.Words = None,
    backbone: Annotated[
        str, typer.Option(help="A backbone: see `ringbench ls backbones`.")
    ] = "ViT-B-16-quickgelu",
    classes: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Classes, for methods with a head.")
    ] = 100,
    json: options.Json = False,
) -> None:
    """Count a method's parameters on a backbone, without its weights and without training."""
    from harness.cli import console, run_output

    counts = run_output.count_parameters(method, words or [], backbone, classes)
    if json:
        console.as_json(counts)
        return
    rows: list[list[Any]] = [[k, v] for k, v in counts.items() if isinstance(v, int)]
    for group in ("by_tower", "by_part"):
        rows += [[f"  {name}", n] for name, n in counts[group].items()]
    console.table(["parameters", method], rows, title=f"{method} on {backbone}")


def doctor(json: options.Json = False, tracking_uri: options.Tracking = None) -> int:
    """Check the installation: versions, device, embedded suite, ledger, disk."""
    from harness.cli import console
    from harness.cli.doctor import examine

    findings = examine(tracking_uri)
    if json:
        console.as_json([vars(f) for f in findings])
    else:
        rows = [["ok" if f.ok else "PROBLEM", f.what, f.found] for f in findings]
        console.table(["", "what", "found"], rows)
    return 0 if all(f.ok for f in findings) else 1


def view(
    port: Annotated[int, typer.Option(min=0, max=65535, help="MLflow's port; 0: a free one.")] = 0,
    storage: Annotated[
        str | None, typer.Option(help="Database of sweeps to show, such as postgresql://...")
    ] = None,
    tracking_uri: options.Tracking = None,
) -> None:
    """Open the runs in the browser: MLflow's pages on the ledger, Optuna's on the sweeps."""
    from harness.cli.view import serve

    serve(tracking_uri, port, storage)
