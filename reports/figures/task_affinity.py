"""The picture of how alike tasks are."""

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.analyses.task_affinity import MAX_MATRICES
from reports.figures.style import STYLE
from reports.results.board import Board, board_title

COLUMNS = 3
LEAST = 0.1  # the end of the scale at least: smaller cosines look small
DARK = 0.6  # of the scale; what lies beyond is written in white
WIDTH = 34  # letters of a line over a map


def draw_affinity(squares: Mapping[str, pd.DataFrame], title: str, png: Path, svg: Path) -> None:
    """A heat map a method, numbers inside, on one scale of colours that has 0 in its middle.

    The diagonal, which is 1 always, is left white.
    """
    columns = min(COLUMNS, len(squares))
    rows = math.ceil(len(squares) / columns)
    tasks = max(len(square) for square in squares.values())
    size = 1.5 + 0.5 * tasks
    beside = [np.abs(_beside(square)).max() for square in squares.values()]
    end = float(np.clip(np.nanmax(beside), LEAST, 1.0))
    with mpl.rc_context(STYLE):
        width = max(5.0, columns * (size + 0.3) + 0.8)
        figure = Figure(figsize=(width, rows * size + 0.5), dpi=200, layout="constrained")
        FigureCanvasAgg(figure)
        maps = [figure.add_subplot(rows, columns, i + 1) for i in range(len(squares))]
        for i, (axes, (name, square)) in enumerate(zip(maps, squares.items(), strict=True)):
            image = _heat(axes, name, square, end, names=i % columns == 0)
        figure.colorbar(image, ax=maps, label="cosine", shrink=0.8)
        figure.suptitle(title, x=0.01, ha="left", fontsize=8)
        figure.savefig(png, metadata={"Software": None})
        figure.savefig(svg, metadata={"Date": None, "Creator": "RingBench"})


def _beside(square: pd.DataFrame) -> np.ndarray:
    """The numbers beside the diagonal."""
    values = square.to_numpy()
    found: np.ndarray = values[~np.eye(len(values), dtype=bool)]
    return found


def _heat(axes: Any, name: str, square: pd.DataFrame, end: float, names: bool) -> Any:
    values = square.to_numpy(copy=True)
    np.fill_diagonal(values, np.nan)
    image = axes.imshow(values, vmin=-end, vmax=end, cmap="RdBu_r")
    lines = [part for line in name.split("\n") for part in textwrap.wrap(line, WIDTH)]
    axes.set_title("\n".join(lines), fontsize=7)
    places = range(len(square))
    axes.set_xticks(places, square.columns, fontsize=6, rotation=45, ha="right")
    axes.set_yticks(places, square.index if names else [""] * len(square), fontsize=6)
    for i in places:
        for j in places:
            value = square.iloc[i, j]
            colour = "white" if i != j and abs(value) > DARK * end else "black"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6, color=colour)
    return image


def write_affinity(board: Board, found: pd.DataFrame, folder: Path) -> list[Path]:
    """affinity.png and .svg; same rows, same bytes."""
    # matplotlib is slow to import

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"affinity.{kind}" for kind in ("png", "svg")]
    order = [f"{r['method']} {r['settings']}".strip() for _, r in board.rows.iterrows()]
    place = {name: i for i, name in reversed(list(enumerate(order)))}
    parts = sorted(found.groupby(["method", "dataset"]), key=lambda part: place[part[0][0]])
    squares = {
        f"{method}\n{dataset}" if len(board.datasets) > 1 else str(method): rows.pivot(
            index="task", columns="other", values="cosine"
        )
        for (method, dataset), rows in parts[:MAX_MATRICES]
    }
    left = len(parts) - len(squares)
    note = f"; {left} more in affinity.csv" if left else ""
    draw_affinity(squares, f"{board_title(board)}: cosine of the tasks' gradients{note}", *paths)
    return paths
