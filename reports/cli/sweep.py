"""The files of a sweep or equal-budget comparison, and the front of a sweep."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.tracking.run_record import Run
    from harness.tracking.sweep_record import SweepRecord
    from reports.results.sweep_results import Sweep


def write_sweep(
    name: str, folder: Path, uri: str | None, shown: bool, keys: str | None, best: str | None
) -> list[Path]:
    """Write all files of a sweep or comparison; ``shown`` prints its main table."""
    from harness.tracking.sweep_record import read_sweep
    from methods.kit.core.errors import UsageError
    from reports.provenance import manifest, sweep_tables
    from reports.results.sweep_results import load_sweep

    record = read_sweep(name)
    if record.is_comparison:
        if keys or best:
            raise UsageError("--map and --best: go with one sweep of the comparison")
        return _write_comparison(record, folder, uri, shown)
    sweep, request = load_sweep(name), sweep_tables.SweepRequest(keys, best)
    parts = sweep_tables.sweep_parts(sweep, request)
    tables = sweep_tables.sweep_report(sweep, request, parts, _runs(sweep, uri))
    paths = manifest.write_manifest(tables, folder, sweep_tables.draw_parts(parts, folder))
    if shown:
        _print_best(sweep, best)
    return paths


def _write_comparison(
    record: "SweepRecord", folder: Path, uri: str | None, shown: bool
) -> list[Path]:
    from harness.tracking.ledger import open_ledger
    from reports.cli.comparison import print_comparison
    from reports.cli.output import print_boards
    from reports.provenance import manifest, sweep_tables
    from reports.results.sweep_results import load_sweep

    ledger = open_ledger(uri)
    runs = list(ledger.runs())
    results = sweep_tables.equal_budget_results(record.facts, runs, cache(ledger.predictions))
    sweeps = [load_sweep(part) for part in record.parts]
    curves = sweep_tables.equal_budget_curves(record.facts, sweeps)
    if shown:
        print_boards(results.boards)
        if results.against:
            title = f"{record.name}: against {results.against[0].paired.b.name}"
            print_comparison(results.against, title)
    tables = sweep_tables.equal_budget_report(record.facts, sweeps, results, curves, runs)
    return manifest.write_manifest(tables, folder, sweep_tables.draw_parts([curves], folder))


def _runs(sweep: "Sweep", uri: str | None) -> "list[Run]":
    """Return the runs of the ledger; none is opened for a sweep without run ids."""
    from harness.tracking.ledger import open_ledger

    return list(open_ledger(uri).runs()) if sweep.digests else []


def _print_best(sweep: "Sweep", word: str | None) -> None:
    """Print the best value of a key for each setting of the others, if there is such a key."""
    from harness.cli import console
    from reports.analyses.sweep import best_key, best_table, plain_value

    key = best_key(sweep, word)
    if key is None:
        return
    table = best_table(sweep, key)
    rows = [[plain_value(v) for v in row] for row in table.to_numpy(dtype=object)]
    place = list(table.columns).index(key)
    for row in rows:
        row[place] = f"{row[place]:g}" if isinstance(row[place], float) else row[place]
        row[-2] = "-" if row[-2] != row[-2] else row[-2]  # NaN: only one value was tried
    console.table(list(table.columns), rows, f"{sweep.name}: best {key}")


def show_sweep_front(
    name: str, cost: str | None, quality: str | None, folder: Path, uri: str | None, as_json: bool
) -> None:
    """Write and print the front of a sweep."""
    from harness.cli import console
    from reports.analyses.sweep import plain_value
    from reports.cli.output import say_written
    from reports.provenance import manifest, sweep_tables
    from reports.results.sweep_results import load_sweep

    sweep = load_sweep(name)
    cost, quality = cost or sweep.cost, quality or sweep.quality
    part = sweep_tables.front_part(sweep, "pareto", cost, quality)
    tables = sweep_tables.front_report(sweep, cost, quality, part, _runs(sweep, uri))
    paths = manifest.write_manifest(tables, folder, sweep_tables.draw_parts([part], folder))
    best = part.table[part.table["front"]].sort_values(cost)
    if as_json:
        return console.as_json(
            [{k: plain_value(v) for k, v in row.items()} for row in best.to_dict("records")]
        )
    heads = ["number", cost, quality, *sweep.keys]
    columns = [best[h].map(plain_value) for h in heads[:3]]
    columns += [
        best[k].map(lambda v: f"{v:.4g}" if isinstance(v, float) else v) for k in sweep.keys
    ]
    rows = [list(row) for row in zip(*columns, strict=True)]
    title = f"{name}: front of {len(part.table)} complete trials"
    console.table(["trial", *heads[1:]], rows, title)
    return say_written(paths)
