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
from reports import leaderboard, pareto, studies
from reports import sweep as sweeps
from reports.table import boards

COST = "params/trainable"


def suite(uri: str | None, run_id: str, digests: Collection[str]) -> None:
    """Leaderboard and front of the runs of a suite; what cannot be attached is said."""
    wanted = set(digests)
    with TemporaryDirectory() as place:
        folder = Path(place)
        try:
            ledger = open_ledger(uri)
            found = boards(r for r in ledger.runs() if r.digest in wanted and r.tested)
            leaderboard.write(found, folder)
            for board in found:
                pareto.write(board, folder, COST, board.headline)
            ledger.attach(run_id, folder)
        except UsageError as error:
            console.say(f"  no report beside the suite in MLflow: {error}")


def sweep(uri: str | None, run_id: str, name: str) -> None:
    """The front of a sweep and its files."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        try:
            part = studies.front(sweeps.read(name), "front")
            studies.draw([part], folder)
            (folder / "front.csv").write_text(part.text)
            for path in (home() / "sweeps" / name).glob("*.*"):
                shutil.copy(path, folder)
            open_ledger(uri).attach(run_id, folder)
        except UsageError as error:
            console.say(f"  no report beside the sweep in MLflow: {error}")
