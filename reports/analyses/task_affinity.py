"""How alike the gradients of tasks were that one adapter learnt together (multi_task)."""

import io
from collections.abc import Callable

import pandas as pd
import pyarrow.parquet as pq

from harness.run.conclude import AFFINITY
from reports.results.board import Board

Fetch = Callable[[str], bytes | None]  # from a run's id to its tables.parquet
MAX_MATRICES = 12  # matrices in one picture


def affinity_table(board: Board, fetch: Fetch) -> pd.DataFrame:
    """For each method and group of data sets the mean cosine of each two tasks, over seeds."""
    rows = []
    for _, run in board.cells.iterrows():
        file = fetch(str(run["run_id"]))
        found = pq.read_table(io.BytesIO(file)).to_pandas() if file else pd.DataFrame()
        if not found.empty:
            mine = found[found["table"] == AFFINITY]
            name = f"{run['method']} {run['settings']}".strip()
            rows += [
                {"method": name, "dataset": run["dataset"], "task": a, "other": b, "cosine": value}
                for a, b, value in zip(mine["row"], mine["column"], mine["value"], strict=True)
            ]
    keys = ["method", "dataset", "task", "other"]
    every = pd.DataFrame(rows, columns=[*keys, "cosine"])
    found = every.groupby(keys)["cosine"].agg(["mean", "std", "count"]).reset_index()
    return found.rename(columns={"mean": "cosine", "count": "n"})


def affinity_csv(found: pd.DataFrame) -> str:
    """In full precision."""
    return found.to_csv(index=False, lineterminator="\n")
