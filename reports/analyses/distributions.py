"""Files about all methods together: ranks over data sets, aggregates, profiles."""

import numpy as np
import pandas as pd

from reports.results.annotations import REFERENCE_METHOD
from reports.results.board import AVERAGE, Board
from reports.statistics import aggregate, friedman


def gains_of_runs(board: Board) -> tuple[dict[str, list[np.ndarray]], str]:
    """The ranking metric of every run, less zero-shot's mean on the same data set where zero-shot
    was run on all of them; and what that is called. Only methods with every data set."""
    found = {}
    cells = board.cells
    names = (cells["method"] + " " + cells["settings"]).str.strip()
    for name, runs in cells.groupby(names):
        by_dataset = dict(list(runs.groupby("dataset")))
        if set(by_dataset) == set(board.datasets):
            found[str(name)] = [by_dataset[d][board.headline].to_numpy() for d in board.datasets]
    zero = found.pop(REFERENCE_METHOD, None)
    if zero is None:
        return found, board.headline
    levels = [float(z.mean()) for z in zero]
    above = {n: [s - z for s, z in zip(v, levels, strict=True)] for n, v in found.items()}
    return above, f"{board.headline} over zero-shot"


def scores_by_dataset(board: Board) -> pd.DataFrame:
    """The ranking metric: a row a data set, a column a method, only methods with every data set."""
    rows = board.rows[board.rows["dataset"] != AVERAGE].copy()
    rows["name"] = (rows["method"] + " " + rows["settings"]).str.strip()
    wide = rows.pivot_table(index="dataset", columns="name", values=f"{board.headline}_mean")
    return wide.dropna(axis=1)


def tables_of(board: Board) -> dict[str, pd.DataFrame]:
    """aggregate, improvement and profile, and ranks with five methods and five data sets; nothing
    below two methods."""
    scores, what = gains_of_runs(board)
    if len(scores) < 2:
        return {}
    found = friedman.friedman_ranking(scores_by_dataset(board))
    return {
        "aggregate": aggregate.aggregate_table(scores).assign(metric=what),
        "improvement": aggregate.improvement_table(scores),
        "profile": aggregate.profile_table(scores),
    } | ({} if found is None else {"ranks": friedman.ranking_table(found)})
