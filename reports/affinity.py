"""How alike the gradients of tasks were that one adapter learnt together (multi_task)."""

import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from harness.tasks import AFFINITY
from reports.leaderboard import title
from reports.table import Board

Fetch = Callable[[str], bytes | None]  # from a run's id to its tables.parquet
MOST = 12  # matrices in one picture


def table(board: Board, fetch: Fetch) -> pd.DataFrame:
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


def csv(found: pd.DataFrame) -> str:
    """In full precision."""
    return found.to_csv(index=False, lineterminator="\n")


def draw(board: Board, found: pd.DataFrame, folder: Path) -> list[Path]:
    """affinity.png and .svg; same rows, same bytes."""
    from reports import draw_affinity  # matplotlib is slow to import

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"affinity.{kind}" for kind in ("png", "svg")]
    order = [f"{r['method']} {r['settings']}".strip() for _, r in board.rows.iterrows()]
    place = {name: i for i, name in reversed(list(enumerate(order)))}
    parts = sorted(found.groupby(["method", "dataset"]), key=lambda part: place[part[0][0]])
    squares = {
        f"{method}\n{dataset}" if len(board.datasets) > 1 else str(method): rows.pivot(
            index="task", columns="other", values="cosine"
        )
        for (method, dataset), rows in parts[:MOST]
    }
    left = len(parts) - len(squares)
    note = f"; {left} more in affinity.csv" if left else ""
    draw_affinity.draw(squares, f"{title(board)}: cosine of the tasks' gradients{note}", *paths)
    return paths
