"""The similarity of gradients between the tasks of one adapter (multi_task)."""

import io
from collections.abc import Callable

import pandas as pd
import pyarrow.parquet as pq

from reports.results.board import Board

FetchTables = Callable[[str], bytes | None]  # from an MLflow id to tables.parquet
MAX_MATRICES = 12  # in one figure


def affinity_table(board: Board, fetch: FetchTables) -> pd.DataFrame:
    """Return the mean cosine of every two tasks over seeds, by method and group of data sets."""
    from harness.run.conclude import AFFINITY  # slow to import

    rows = []
    for _, run in board.cells.iterrows():
        file = fetch(str(run["run_id"]))
        if file is None:
            continue
        stored = pq.read_table(io.BytesIO(file)).to_pandas()
        if not stored.empty:
            cosines = stored[stored["table"] == AFFINITY]
            name = f"{run['method']} {run['settings']}".strip()
            rows += [
                {"method": name, "dataset": run["dataset"], "task": a, "other": b, "cosine": value}
                for a, b, value in cosines[["row", "column", "value"]].itertuples(index=False)
            ]
    keys = ["method", "dataset", "task", "other"]
    table = pd.DataFrame(rows, columns=[*keys, "cosine"])
    means = table.groupby(keys)["cosine"].agg(["mean", "std", "count"]).reset_index()
    return means.rename(columns={"mean": "cosine", "count": "n"})


def affinity_csv(table: pd.DataFrame) -> str:
    """Return the table in full precision."""
    return table.to_csv(index=False, lineterminator="\n")
