"""The figure of task affinity: heat maps of cosines between gradients."""

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.analyses.task_affinity import MAX_MATRICES
from reports.figures.style import saved_figure
from reports.results.board import Board, board_title

COLUMNS = 3
SMALLEST_RANGE = 0.1  # of the colour scale: smaller cosines look small
DARK = 0.6  # share of the scale above which text is white
WIDTH = 34  # letters of a line above a map


def save_affinity(board: Board, table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write affinity.png and .svg, with the maps in the order of the leaderboard."""
    names = [f"{r['method']} {r['settings']}".strip() for _, r in board.rows.iterrows()]
    parts = sorted(table.groupby(["method", "dataset"]), key=lambda part: names.index(part[0][0]))
    matrices = {
        f"{method}\n{dataset}" if len(board.datasets) > 1 else str(method): rows.pivot(
            index="task", columns="other", values="cosine"
        )
        for (method, dataset), rows in parts[:MAX_MATRICES]
    }
    left = len(parts) - len(matrices)
    note = f"; {left} more in affinity.csv" if left else ""
    title = f"{board_title(board)}: cosine of the tasks' gradients{note}"
    columns = min(COLUMNS, len(matrices))
    rows = math.ceil(len(matrices) / columns)
    side = 1.5 + 0.5 * max(len(matrix) for matrix in matrices.values())
    size = (max(5.0, columns * (side + 0.3) + 0.8), rows * side + 0.5)
    with saved_figure(size, folder, "affinity", ("png", "svg")) as (figure, paths):
        draw_affinity(figure, matrices, title, rows, columns)
    return paths


def draw_affinity(
    figure: Figure, matrices: Mapping[str, pd.DataFrame], title: str, rows: int, columns: int
) -> None:
    """Draw a heat map per method with numbers, on one colour scale with 0 in its middle.

    The diagonal, which is always 1, is left white.
    """
    largest = [np.abs(m.to_numpy()[~np.eye(len(m), dtype=bool)]).max() for m in matrices.values()]
    end = float(np.clip(np.nanmax(largest), SMALLEST_RANGE, 1.0))
    maps = [figure.add_subplot(rows, columns, i + 1) for i in range(len(matrices))]
    for i, (axes, (name, matrix)) in enumerate(zip(maps, matrices.items(), strict=True)):
        image = _draw_matrix(axes, name, matrix, end, names=i % columns == 0)
    figure.colorbar(image, ax=maps, label="cosine", shrink=0.8)
    figure.suptitle(title, x=0.01, ha="left", fontsize=8)


def _draw_matrix(axes: Any, name: str, matrix: pd.DataFrame, end: float, names: bool) -> Any:
    values = matrix.to_numpy(copy=True)
    np.fill_diagonal(values, np.nan)
    image = axes.imshow(values, vmin=-end, vmax=end, cmap="RdBu_r")
    lines = [part for line in name.split("\n") for part in textwrap.wrap(line, WIDTH)]
    axes.set_title("\n".join(lines), fontsize=7)
    places = range(len(matrix))
    axes.set_xticks(places, matrix.columns, fontsize=6, rotation=45, ha="right")
    axes.set_yticks(places, matrix.index if names else [""] * len(matrix), fontsize=6)
    for (i, j), value in np.ndenumerate(matrix.to_numpy()):
        colour = "white" if i != j and abs(value) > DARK * end else "black"
        axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6, color=colour)
    return image
