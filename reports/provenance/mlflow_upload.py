"""Uploads the tables and figures of a finished suite or sweep to its parent run in MLflow.

``sweeps`` imports this module by name: it must not depend on reports.
"""

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.cli import console
from harness.spec.paths import home_folder
from harness.tracking.ledger import Ledger, open_ledger
from methods.kit.core.errors import UsageError
from reports.analyses import pareto
from reports.provenance import manifest, rebuild, sweep_tables
from reports.results import sweep_results
from reports.results.board import Board, boards

COST = "params/trainable"


def suite(uri: str | None, run_id: str, digests: Collection[str]) -> None:
    """Upload the leaderboard and the front of a suite's runs; print why if that is impossible."""
    wanted = set(digests)
    with _uploaded(uri, run_id, "suite") as (ledger, folder):
        found = boards(r for r in ledger.runs() if r.digest in wanted and r.tested)
        manifest.write_manifest(rebuild.leaderboard_tables(found, False), folder)
        for board in found:
            _write_front(board, folder)


def sweep(uri: str | None, run_id: str, name: str) -> None:
    """Upload the front of a sweep and its files; print why if that is impossible."""
    with _uploaded(uri, run_id, "sweep") as (ledger, folder):
        tuned = sweep_results.load_sweep(name)
        part = sweep_tables.front_part(tuned, "front")
        runs = list(ledger.runs())
        tables = sweep_tables.front_report(tuned, tuned.cost, tuned.quality, part, runs)
        manifest.write_manifest(tables, folder, sweep_tables.draw_parts([part], folder))
        for path in (home_folder() / "sweeps" / name).glob("*.*"):
            shutil.copy(path, folder)


@contextmanager
def _uploaded(uri: str | None, run_id: str, kind: str) -> Iterator[tuple[Ledger, Path]]:
    with TemporaryDirectory() as place:
        try:
            ledger = open_ledger(uri)
            yield ledger, Path(place)
            ledger.upload_report(run_id, Path(place))
        except UsageError as error:
            console.say(f"  no report beside the {kind} in MLflow: {error}")


def _write_front(board: Board, folder: Path) -> None:
    """Write nothing where the grid of every configuration is incomplete."""
    from reports.figures.pareto import save_pareto  # matplotlib is slow to import

    axes = pareto.find_axes(board, COST, board.headline)
    if pareto.pareto_points(board, axes, probabilities=False):
        front = rebuild.measure_front(board, axes, per_data=False)
        drawn = save_pareto(front.panels, board, axes, None, folder)
        manifest.write_manifest(rebuild.front_tables(front, board), folder, drawn)
