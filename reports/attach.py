"""The tables and pictures of a finished suite or sweep, put beside its run in MLflow.

``sweeps`` names this module as a string: it draws nothing itself.
"""

import shutil
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import console
from harness.home import home
from harness.ledger import open_ledger
from methods.kit.errors import UsageError
from reports import again, pareto, stamp, studies, tuned
from reports import sweep as sweeps
from reports.table import Board, boards

COST = "params/trainable"


def suite(uri: str | None, run_id: str, digests: Collection[str]) -> None:
    """Leaderboard and front of the runs of a suite; what cannot be attached is said."""
    wanted = set(digests)
    with TemporaryDirectory() as place:
        folder = Path(place)
        try:
            ledger = open_ledger(uri)
            found = boards(r for r in ledger.runs() if r.digest in wanted and r.tested)
            stamp.write(again.leaderboard(found, False), folder)
            for board in found:
                _front(board, folder)
            ledger.attach(run_id, folder)
        except UsageError as error:
            console.say(f"  no report beside the suite in MLflow: {error}")


def _front(board: Board, folder: Path) -> None:
    """Nothing where the grid of every configuration is incomplete."""
    from reports import draw_pareto  # matplotlib is slow to import

    asked = pareto.axes(board, COST, board.headline)
    if pareto.points(board, COST, board.headline, judged=False):
        found = again.front(board, asked, per_data=False)
        drawn = draw_pareto.write(found.panels, board, asked, None, folder)
        stamp.write(again.front_tables(found, board), folder, drawn)


def sweep(uri: str | None, run_id: str, name: str) -> None:
    """The front of a sweep and its files."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        try:
            found, ledger = sweeps.read(name), open_ledger(uri)
            part = studies.front(found, "front")
            tables = tuned.of_front(found, found.cost, found.quality, part, list(ledger.runs()))
            stamp.write(tables, folder, studies.draw([part], folder))
            for path in (home() / "sweeps" / name).glob("*.*"):
                shutil.copy(path, folder)
            ledger.attach(run_id, folder)
        except UsageError as error:
            console.say(f"  no report beside the sweep in MLflow: {error}")
