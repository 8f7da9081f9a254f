"""The tables and pictures of a finished suite or sweep, put beside its run in MLflow.

``sweeps`` names this module as a string: it draws nothing itself.
"""

import shutil
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.cli import console
from harness.spec.paths import home_folder
from harness.tracking.ledger import open_ledger
from methods.kit.core.errors import UsageError
from reports.analyses import pareto
from reports.provenance import manifest, rebuild, sweep_files, sweep_tables
from reports.results import sweeps
from reports.results.board import Board, boards

COST = "params/trainable"


def suite(uri: str | None, run_id: str, digests: Collection[str]) -> None:
    """Leaderboard and front of the runs of a suite; what cannot be attached is said."""
    wanted = set(digests)
    with TemporaryDirectory() as place:
        folder = Path(place)
        try:
            ledger = open_ledger(uri)
            found = boards(r for r in ledger.runs() if r.digest in wanted and r.tested)
            manifest.write_manifest(rebuild.leaderboard_tables(found, False), folder)
            for board in found:
                _front(board, folder)
            ledger.upload_report(run_id, folder)
        except UsageError as error:
            console.say(f"  no report beside the suite in MLflow: {error}")


def _front(board: Board, folder: Path) -> None:
    """Nothing where the grid of every configuration is incomplete."""
    from reports.figures.pareto import save_pareto  # matplotlib is slow to import

    asked = pareto.find_axes(board, COST, board.headline)
    if pareto.pareto_points(board, COST, board.headline, judged=False):
        found = rebuild.measure_front(board, asked, per_data=False)
        drawn = save_pareto(found.panels, board, asked, None, folder)
        manifest.write_manifest(rebuild.front_tables(found, board), folder, drawn)


def sweep(uri: str | None, run_id: str, name: str) -> None:
    """The front of a sweep and its files."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        try:
            found, ledger = sweeps.read_sweep(name), open_ledger(uri)
            part = sweep_files.front_part(found, "front")
            tables = sweep_tables.of_front(
                found, found.cost, found.quality, part, list(ledger.runs())
            )
            manifest.write_manifest(tables, folder, sweep_files.draw_parts([part], folder))
            for path in (home_folder() / "sweeps" / name).glob("*.*"):
                shutil.copy(path, folder)
            ledger.upload_report(run_id, folder)
        except UsageError as error:
            console.say(f"  no report beside the sweep in MLflow: {error}")
