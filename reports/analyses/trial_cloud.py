"""Trials of sweeps as a faint cloud behind a front."""

from collections.abc import Sequence

import pandas as pd

from methods.kit.core.errors import UsageError
from reports.analyses.pareto import Axes
from reports.results import sweeps
from reports.results.board import Board


def trial_cloud(names: Sequence[str], board: Board, asked: Axes) -> pd.DataFrame:
    """The cost and quality of every complete trial of sweeps and contests, and its ``sweep``.

    Raises UsageError where they are not of the board's kind: trials know validation accuracies
    only, and their means are over the sweep's data sets.
    """
    found = []
    for name in names:
        facts = sweeps.facts_of(name)
        for part in sweeps.parts(facts) if facts["kind"] == "contest" else [name]:
            found.append(_one(sweeps.read_sweep(part), board, asked))
    return pd.concat(found, ignore_index=True)


def _one(sweep: sweeps.Sweep, board: Board, asked: Axes) -> pd.DataFrame:
    table = sweep.complete
    for q in (asked.cost, asked.quality):
        if q.name not in table:
            there = ", ".join(c for c in table if c.startswith(("acc/", "params/", "time/")))
            raise UsageError(
                f"--cloud {sweep.name}: its trials have {there}, not {q.name};"
                f" for example --quality {sweep.quality}"
            )
    mine = sorted({d for d, _ in sweep.facts["cells"]})
    if sweep.facts["protocol"] != board.protocol or mine != sorted(board.datasets):
        raise UsageError(
            f"--cloud {sweep.name}: is {sweep.facts['protocol']} on {', '.join(mine)}, the picture"
            f" {board.protocol} on {', '.join(board.datasets)}"
        )
    found = {"cost": table[asked.cost.name], "quality": table[asked.quality.name]}
    return pd.DataFrame(found).assign(sweep=sweep.name)
