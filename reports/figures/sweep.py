"""Pictures of a sweep, in the manner of reports/figures/style.py: print, no colour,
colour-blind."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.spec.quantities import axis_label
from reports.figures.style import (
    COLOURS,
    MARKS,
    STYLE,
    cost_axis,
    cost_position,
    save_figure,
    style_axes,
)

STYLES = ("-", "--", ":", "-.")
GREY = "#555555"


def draw_front(table: pd.DataFrame, cost: str, quality: str, title: str, png: Path) -> None:
    """The plane with the front as a staircase, and the dominated share over trials."""
    with _figure(png, (9.0, 4.2)) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        on = table["front"]
        rest, best = table[~on], table[on].sort_values([cost, quality])
        place = cost_position(table[cost].tolist())
        left.scatter(
            rest[cost].map(place), rest[quality], c="#999999", marker="o", s=18, label="dominated"
        )
        left.scatter(
            best[cost].map(place), best[quality], c=COLOURS[0], marker="D", s=34,
            edgecolors="black", linewidths=0.8, zorder=3, label="front",
        )  # fmt: skip
        cost_axis(left, table[cost].tolist(), place)
        edge = left.get_xlim()[1]
        xs, ys = [*best[cost].map(place), edge], [*best[quality], best[quality].iloc[-1]]
        left.step(xs, ys, where="post", color=GREY, lw=1.1, zorder=1)
        left.set_xlabel(axis_label(cost))
        left.set_ylabel(axis_label(quality))
        left.set_title(title, loc="left", fontsize=8)
        _legend(figure, left)
        right.step(
            range(1, len(table) + 1), table["hypervolume"], where="post", color=COLOURS[1], lw=1.6
        )
        right.set_xlabel("complete trials")
        right.set_ylabel("dominated share of the plane (log cost)")
        right.set_ylim(0, 1.02)
        right.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in (left, right):
            style_axes(axes)


def draw_heat_map(
    cells: pd.DataFrame, keys: tuple[str, str], values: tuple[Sequence[Any], Sequence[Any]],
    quality: str, title: str, png: Path,
) -> None:  # fmt: skip
    """A number in every cell that was tried; the others are hatched."""
    rows, columns = values
    grid = np.full((len(rows), len(columns)), np.nan)
    for _, cell in cells.iterrows():
        grid[list(rows).index(_same(cell[keys[0]], rows)),
             list(columns).index(_same(cell[keys[1]], columns))] = cell[quality]  # fmt: skip
    size = (1.9 + 0.62 * len(columns), 1.4 + 0.42 * len(rows))
    with _figure(png, size) as figure:
        axes = figure.add_subplot()
        axes.patch.set(hatch="////", edgecolor="#bbbbbb", facecolor="white")
        image = axes.imshow(np.ma.masked_invalid(grid), cmap="cividis", aspect="auto")
        middle = (np.nanmin(grid) + np.nanmax(grid)) / 2
        for (i, j), value in np.ndenumerate(grid):
            if not np.isnan(value):
                top = value == np.nanmax(grid)
                colour = "black" if value > middle else "white"
                axes.text(j, i, f"{value:.1f}", ha="center", va="center", color=colour,
                          fontsize=8, fontweight="bold" if top else "normal")  # fmt: skip
        axes.set_xticks(range(len(columns)), [_word(v) for v in columns])
        axes.set_yticks(range(len(rows)), [_word(v) for v in rows])
        axes.invert_yaxis()
        axes.set_xlabel(_key(keys[1]))
        axes.set_ylabel(_key(keys[0]))
        axes.set_title(title, loc="left", fontsize=8)
        figure.colorbar(image, ax=axes, label=axis_label(quality), shrink=0.9)


def draw_importances(table: pd.DataFrame, title: str, png: Path) -> None:
    """Bars, the longest on top, with their numbers."""
    with _figure(png, (6.0, 1.1 + 0.32 * len(table))) as figure:
        axes = figure.add_subplot()
        names = [_key(k) for k in table["key"]]
        bars = axes.barh(names, table["importance"], color=COLOURS[0], height=0.62)
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.1 * float(table["importance"].max()) or 1)
        axes.set_xlabel("share of importance (PED-ANOVA)")
        axes.set_title(title, loc="left", fontsize=8)
        style_axes(axes)


def draw_tuning_curves(table: pd.DataFrame, aim: str, by: str, title: str, png: Path) -> None:
    """Best so far against budget, a line a method; its trials as faint marks."""
    with _figure(png, (6.4, 4.0)) as figure:
        axes = figure.add_subplot()
        styles = zip(cycle(COLOURS), cycle(STYLES), cycle(MARKS), strict=False)
        for (name, rows), (colour, style, mark) in zip(
            table.groupby("method", sort=False), styles, strict=False
        ):
            axes.scatter(rows[by], rows[aim], color=colour, marker=mark, s=14, alpha=0.35, lw=0)
            axes.step(rows[by], rows["best"], where="post", color=colour, ls=style, lw=1.7,
                      label=str(name))  # fmt: skip
        low = float(table["best"].min())
        tried = table[aim].dropna()
        axes.set_ylim(bottom=min(low, float(tried.quantile(0.25))) - 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("trials" if by == "trial" else "seconds of trials")
        axes.set_ylabel(f"best so far: {axis_label(aim)}")
        axes.set_title(title, loc="left", fontsize=8)
        _legend(figure, axes)
        style_axes(axes)


@contextmanager
def _figure(png: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure that is saved as PNG, and as SVG and PDF beside it; same input, same bytes."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, dpi=200, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        save_figure(figure, png.parent, png.stem)


def _legend(figure: Figure, axes: Any) -> None:
    """Below the axes, where it lies on nothing; in columns while they fit."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=min(4, len(labels)),
                  fontsize=8, frameon=False)  # fmt: skip


def _key(key: str) -> str:
    """``ring rank`` for ``method.ring_rank``."""
    return key.removeprefix("method.").replace("_", " ")


def _word(value: Any) -> str:
    """``4 x 12`` for ``[4, 12]``; numbers without needless digits."""
    if isinstance(value, str):
        return value.strip("[]").replace('"', "").replace(", ", " x ")
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _same(value: Any, known: Sequence[Any]) -> Any:
    """The known value that a cell of a CSV stands for."""
    return next(k for k in known if k == value or str(k) == str(value))
