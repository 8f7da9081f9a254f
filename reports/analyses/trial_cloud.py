"""Trials of sweeps, shown as a faint cloud behind a Pareto front."""

from collections.abc import Sequence

import pandas as pd

from harness.tracking.sweep_record import read_sweep
from methods.kit.core.errors import UsageError
from reports.analyses.pareto import Axes
from reports.results.board import Board
from reports.results.sweep_results import Sweep, load_sweep


def trial_cloud(names: Sequence[str], board: Board, axes: Axes) -> pd.DataFrame:
    """Return cost and quality of every complete trial of sweeps or comparisons, and its ``sweep``.

    Trials have validation accuracies only. Raises UsageError for a sweep of another protocol or
    other data sets than the board.
    """
    records = [read_sweep(name) for name in names]
    parts = [part for r in records for part in (r.parts if r.is_comparison else [r.name])]
    return pd.concat([_trials(load_sweep(p), board, axes) for p in parts], ignore_index=True)


def _trials(sweep: Sweep, board: Board, axes: Axes) -> pd.DataFrame:
    table = sweep.complete
    for q in (axes.cost, axes.quality):
        if q.name not in table:
            there = ", ".join(c for c in table if c.startswith(("acc/", "params/", "time/")))
            raise UsageError(
                f"--cloud {sweep.name}: its trials have {there}, not {q.name};"
                f" for example --quality {sweep.quality}"
            )
    datasets = sorted({d for d, _ in sweep.facts["cells"]})
    if sweep.facts["protocol"] != board.protocol or datasets != sorted(board.datasets):
        raise UsageError(
            f"--cloud {sweep.name}: is {sweep.facts['protocol']} on {', '.join(datasets)}, the"
            f" figure is {board.protocol} on {', '.join(board.datasets)}"
        )
    columns = {"cost": table[axes.cost.name], "quality": table[axes.quality.name]}
    return pd.DataFrame(columns).assign(sweep=sweep.name)
