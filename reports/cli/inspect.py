"""Commands that inspect one run: redundancy, anatomy."""

from typing import Annotated

import typer

from harness.cli.options import Json, Out, Tracking

RunId = Annotated[
    str, typer.Argument(metavar="RUN", help="A run id or MLflow id, or its beginning.")
]


def register(app: typer.Typer) -> None:
    app.command()(redundancy)
    app.command()(anatomy)


def redundancy(
    run: RunId,
    slices: Annotated[str, typer.Option(help="Slice sizes of the fitted rings.")] = "1,2,4,8",
    rings: Annotated[str, typer.Option(help="Ring ranks of the fitted rings.")] = "1,2,4,8",
    as_trained: Annotated[
        bool, typer.Option("--as-trained", help="Use matrices as they are, not their change.")
    ] = False,
    out: Out = None,
    json: Json = False,
    tracking_uri: Tracking = None,
) -> None:
    """Measure redundancy across the layers of a trained full_rank, adapter or LoRA run."""
    from harness.cli import console
    from harness.spec.paths import report_folder
    from harness.tracking.ledger import open_ledger
    from reports.analyses.layer_redundancy import redundancy_tables, rings_on_front
    from reports.cli.output import say_written
    from reports.figures import layer_redundancy
    from reports.provenance import inspection_tables, manifest

    asked = (numbers("--slices", slices), numbers("--rings", rings), as_trained)
    ledger = open_ledger(tracking_uri)
    found = ledger.find_by_prefix(run)
    spectra, fitted = inspection_tables.measure_redundancy(ledger, found, *asked)
    title = inspection_tables.run_title(found)
    made = inspection_tables.redundancy_tables((spectra, fitted), found, *asked)
    folder = report_folder(out)
    paths = manifest.write_manifest(
        made, folder, layer_redundancy.save_redundancy(spectra, fitted, title, folder)
    )
    if json:
        tables = redundancy_tables(spectra, fitted)
        console.as_json({name: table.to_dict("records") for name, table in tables.items()})
        return
    rows = [[s.name, len(s.shares), s.effective, 100 * s.shares[0]] for s in spectra]
    heads = ["matrix", "layers", "effective layers", "energy of the first, %"]
    console.table(heads, rows, title)
    best = rings_on_front(fitted)
    rows = [[f.name, f.slice_size, f.ring_rank, 100 * f.share, 100 * f.error] for f in best]
    console.table(["matrix", "slices", "ring rank", "size, %", "error, %"], rows, "best rings")
    say_written(paths)


def anatomy(run: RunId, out: Out = None, json: Json = False, tracking_uri: Tracking = None) -> None:
    """Show the slices, cores and use of ranks of a trained AdaRing run."""
    from harness.cli import console
    from harness.spec.paths import report_folder
    from harness.tracking.ledger import open_ledger
    from reports.analyses.ring_anatomy import anatomy_tables, start_errors, start_table
    from reports.cli.output import say_written
    from reports.figures import ring_anatomy
    from reports.provenance import inspection_tables, manifest

    ledger = open_ledger(tracking_uri)
    found = ledger.find_by_prefix(run)
    parts, title = (
        inspection_tables.read_run_anatomy(ledger, found),
        inspection_tables.run_title(found),
    )
    folder = report_folder(out)
    drawn = ring_anatomy.save_anatomy(parts, title, folder)
    paths = manifest.write_manifest(inspection_tables.anatomy_tables(parts, found), folder, drawn)
    started, start = start_table(found.tags), start_errors(found.metrics)
    if json:
        tables: dict[str, object] = {
            n: t.to_dict("records") for n, t in anatomy_tables(parts).items()
        }
        console.as_json(tables | ({"start": {**started, "errors": start}} if started else {}))
        return
    if started:
        label = f"start: {started['method']} {started['run']}, {started['dataset']}"
        rows = [[name, 100 * error] for name, error in start.items()]
        console.table(["matrix", "left out, %"], rows, f"{label} seed {started['seed']}")
    rows = [[c.name, "x".join(map(str, c.shape)), c.norm, c.rms] for c in parts.cores]
    console.table(["core", "shape", "norm", "root mean square"], rows, title)
    say_written(paths)


def numbers(option: str, words: str) -> list[int]:
    """Return the numbers of ``1,2,4``. Raises UsageError."""
    from methods.kit.core.errors import UsageError

    try:
        found = sorted({int(word) for word in words.split(",")})
    except ValueError:
        found = [0]
    if not found or found[0] < 1:
        raise UsageError(f"{option}: expected whole numbers from 1, such as 1,2,4, got {words!r}")
    return found
