"""Figures of a sweep: its front, a map over two settings, importances, tuning curves."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from harness.spec.quantities import axis_label
from reports.figures.style import (
    COLOURS,
    GREY,
    MARKS,
    cost_axis,
    cost_position,
    draw_legend,
    saved_figure,
    style_axes,
)

LINES = ("-", "--", ":", "-.")


def draw_front(table: pd.DataFrame, cost: str, quality: str, title: str, png: Path) -> None:
    """Draw the plane with the front as a staircase, and the dominated share over trials."""
    with saved_figure((9.0, 4.2), png.parent, png.stem) as (figure, _):
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        rest, front = table[~table["front"]], table[table["front"]].sort_values([cost, quality])
        place = cost_position(table[cost].tolist())
        left.scatter(
            rest[cost].map(place), rest[quality], c="#999999", marker="o", s=18, label="dominated"
        )
        left.scatter(
            front[cost].map(place), front[quality], c=COLOURS[0], marker="D", s=34,
            edgecolors="black", linewidths=0.8, zorder=3, label="front",
        )  # fmt: skip
        cost_axis(left, table[cost].tolist(), place)
        xs = [*front[cost].map(place), left.get_xlim()[1]]
        ys = [*front[quality], front[quality].iloc[-1]]
        left.step(xs, ys, where="post", color=GREY, lw=1.1, zorder=1)
        left.set(xlabel=axis_label(cost), ylabel=axis_label(quality))
        left.set_title(title, loc="left", fontsize=8)
        draw_legend(figure, left)
        right.step(
            range(1, len(table) + 1), table["hypervolume"], where="post", color=COLOURS[1], lw=1.6
        )
        right.set(xlabel="complete trials", ylabel="dominated share of the plane (log cost)")
        right.set_ylim(0, 1.02)
        right.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in (left, right):
            style_axes(axes)


def draw_heat_map(
    cells: pd.DataFrame, keys: tuple[str, str], values: tuple[Sequence[Any], Sequence[Any]],
    quality: str, title: str, png: Path,
) -> None:  # fmt: skip
    """Draw a number in every cell that was tried; the others are hatched."""
    rows, columns = values
    grid = np.full((len(rows), len(columns)), np.nan)
    for row, column, value in cells[[*keys, quality]].itertuples(index=False):
        grid[_place(row, rows), _place(column, columns)] = value
    size = (1.9 + 0.62 * len(columns), 1.4 + 0.42 * len(rows))
    with saved_figure(size, png.parent, png.stem) as (figure, _):
        axes = figure.add_subplot()
        axes.patch.set(hatch="////", edgecolor="#bbbbbb", facecolor="white")
        image = axes.imshow(np.ma.masked_invalid(grid), cmap="cividis", aspect="auto")
        best, middle = np.nanmax(grid), (np.nanmin(grid) + np.nanmax(grid)) / 2
        for (i, j), value in np.ndenumerate(grid):
            if not np.isnan(value):
                weight = "bold" if value == best else "normal"
                axes.text(
                    j, i, f"{value:.1f}", ha="center", va="center", fontsize=8, fontweight=weight,
                    color="black" if value > middle else "white",
                )  # fmt: skip
        axes.set_xticks(range(len(columns)), [_value_text(v) for v in columns])
        axes.set_yticks(range(len(rows)), [_value_text(v) for v in rows])
        axes.invert_yaxis()
        axes.set(xlabel=_key_text(keys[1]), ylabel=_key_text(keys[0]))
        axes.set_title(title, loc="left", fontsize=8)
        figure.colorbar(image, ax=axes, label=axis_label(quality), shrink=0.9)


def draw_importances(table: pd.DataFrame, title: str, png: Path) -> None:
    """Draw bars with their numbers, the longest on top."""
    with saved_figure((6.0, 1.1 + 0.32 * len(table)), png.parent, png.stem) as (figure, _):
        axes = figure.add_subplot()
        names = [_key_text(k) for k in table["key"]]
        bars = axes.barh(names, table["importance"], color=COLOURS[0], height=0.62)
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.1 * float(table["importance"].max()) or 1)
        axes.set_xlabel("share of importance (PED-ANOVA)")
        axes.set_title(title, loc="left", fontsize=8)
        style_axes(axes)


def draw_tuning_curves(table: pd.DataFrame, objective: str, by: str, title: str, png: Path) -> None:
    """Draw the best so far against budget, a line per method, with its trials as faint marks."""
    with saved_figure((6.4, 4.0), png.parent, png.stem) as (figure, _):
        axes = figure.add_subplot()
        styles = zip(cycle(COLOURS), cycle(LINES), cycle(MARKS), strict=False)
        for (name, rows), (colour, line, mark) in zip(
            table.groupby("method", sort=False), styles, strict=False
        ):
            x = rows[by]
            axes.scatter(x, rows[objective], color=colour, marker=mark, s=14, alpha=0.35, lw=0)
            axes.step(x, rows["best"], where="post", color=colour, ls=line, lw=1.7, label=str(name))
        low = float(table["best"].min())
        tried = table[objective].dropna()
        axes.set_ylim(bottom=min(low, float(tried.quantile(0.25))) - 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("trials" if by == "trial" else "seconds of trials")
        axes.set_ylabel(f"best so far: {axis_label(objective)}")
        axes.set_title(title, loc="left", fontsize=8)
        draw_legend(figure, axes)
        style_axes(axes)


def _key_text(key: str) -> str:
    """Return ``ring rank`` for ``method.ring_rank``."""
    return key.removeprefix("method.").replace("_", " ")


def _value_text(value: Any) -> str:
    """Return ``4 x 12`` for ``[4, 12]``; numbers without needless digits."""
    if isinstance(value, str):
        return value.strip("[]").replace('"', "").replace(", ", " x ")
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _place(value: Any, known: Sequence[Any]) -> int:
    """Return the place of a value from a CSV among the known ones."""
    return next(i for i, k in enumerate(known) if k == value or str(k) == str(value))
