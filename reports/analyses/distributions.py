"""Tables of all methods together: aggregates, probabilities of improvement, profiles, ranks."""

import numpy as np
import pandas as pd

from reports.results.annotations import REFERENCE_METHOD
from reports.results.board import AVERAGE, Board
from reports.statistics import aggregate, friedman


def gains_of_runs(board: Board) -> tuple[dict[str, list[np.ndarray]], str]:
    """Return the headline of every run by method and data set, and what it is called.

    Zero-shot's mean on the same data set is subtracted where zero-shot has every data set. Only
    methods with every data set are included.
    """
    scores = {}
    cells = board.cells
    names = (cells["method"] + " " + cells["settings"]).str.strip()
    for name, runs in cells.groupby(names):
        by_dataset = dict(list(runs.groupby("dataset")))
        if set(by_dataset) == set(board.datasets):
            scores[str(name)] = [by_dataset[d][board.headline].to_numpy() for d in board.datasets]
    zero_shot = scores.pop(REFERENCE_METHOD, None)
    if zero_shot is None:
        return scores, board.headline
    levels = [float(z.mean()) for z in zero_shot]
    gains = {n: [s - z for s, z in zip(v, levels, strict=True)] for n, v in scores.items()}
    return gains, f"{board.headline} over zero-shot"


def scores_by_dataset(board: Board) -> pd.DataFrame:
    """Return the headline, a row per data set, a column per method with every data set."""
    rows = board.rows[board.rows["dataset"] != AVERAGE].copy()
    rows["name"] = (rows["method"] + " " + rows["settings"]).str.strip()
    wide = rows.pivot_table(index="dataset", columns="name", values=f"{board.headline}_mean")
    return wide.dropna(axis=1)


def tables_of(board: Board) -> dict[str, pd.DataFrame]:
    """Return the tables ``aggregate``, ``improvement``, ``profile`` and ``ranks`` by name.

    Empty below two methods; ``ranks`` needs five methods and five data sets.
    """
    scores, metric = gains_of_runs(board)
    if len(scores) < 2:
        return {}
    tables = {
        "aggregate": aggregate.aggregate_table(scores).assign(metric=metric),
        "improvement": aggregate.improvement_table(scores),
        "profile": aggregate.profile_table(scores),
    }
    ranking = friedman.friedman_ranking(scores_by_dataset(board))
    return tables if ranking is None else tables | {"ranks": friedman.ranking_table(ranking)}
