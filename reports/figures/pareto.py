"""The figure of a Pareto front: intervals, staircase, probabilities as opacity, names."""

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness.spec.quantities import Quantity
from reports.analyses.dominated_share import dominated_shares
from reports.analyses.pareto import Axes, ParetoPoint, find_axes, measured_on, pareto_points
from reports.figures import front_geometry
from reports.figures.label_placement import place_labels
from reports.figures.style import (
    GREY,
    STYLE,
    Styles,
    draw_legend,
    log_ticks,
    method_styles,
    new_figure,
    save_figure,
    set_scale,
    style_axes,
    tick_text,
)
from reports.results.board import Board
from reports.tables.pareto import pareto_files

FADED = 0.3
MANY = 30  # points above which only those are named that may be on the front
MAYBE = 0.05
BEHIND = "#777777"
SIZE = 7.0  # of a mark, in points
Colour = Callable[[ParetoPoint], Any]
Panels = Sequence[Sequence[ParetoPoint]]


@dataclass(frozen=True)
class Panel:
    """A plane with its points, their positions, and whether its axis cuts intervals."""

    axes: Any
    points: Sequence[ParetoPoint]
    quality: Quantity
    x: Callable[[float], float]
    y: Callable[[float], float]
    stairs: tuple[list[float], list[float]]
    cloud: list[tuple[float, float]]
    cut: bool

    def at(self, p: ParetoPoint) -> tuple[float, float]:
        return self.x(p.cost), self.y(p.mean)


def write_pareto(board: Board, folder: Path, cost: str, quality: str) -> list[Path]:
    """Write pareto.png, .svg, .pdf and .csv, and pareto-families.csv of a board's averages."""
    folder.mkdir(parents=True, exist_ok=True)
    axes = find_axes(board, cost, quality)
    points = pareto_points(board, axes)
    files = pareto_files([points], dominated_shares(board, points, axes), axes)
    for name, text in files.items():
        (folder / name).write_text(text)
    drawn = save_pareto([points], board, axes, None, folder) if points else []
    return [*drawn, *(folder / name for name in files)]


def save_pareto(
    panels: Panels, board: Board, axes: Axes, cloud: pd.DataFrame | None, folder: Path
) -> list[Path]:
    """Write pareto.png, .svg and .pdf."""
    with mpl.rc_context(STYLE):
        return save_figure(draw_pareto(panels, board, axes, cloud), folder, "pareto")


def draw_pareto(panels: Panels, board: Board, axes: Axes, cloud: pd.DataFrame | None) -> Figure:
    """Draw one plane, or one per data set, with logarithmic costs and a column for zero cost.

    A legend names the methods where a method has several points or a name has no room.
    """
    points = [p for panel in panels for p in panel]
    several = any(len({p.settings for p in own}) > 1 for own in _by_method(points).values())
    figure, left_out = _draw(panels, board, axes, cloud, several)
    return _draw(panels, board, axes, cloud, True)[0] if left_out and not several else figure


def _by_method(points: Sequence[ParetoPoint]) -> dict[str, list[ParetoPoint]]:
    return {name: [p for p in points if p.method == name] for name in {p.method for p in points}}


def _draw(
    panels: Panels, board: Board, asked: Axes, cloud: pd.DataFrame | None, legend: bool
) -> tuple[Figure, int]:
    """Return the figure, and the number of names without room."""
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    size = (7.2, 4.8) if len(panels) == 1 else (3.6 * columns, 2.9 * rows + 0.6)
    figure = new_figure(size)
    grid = figure.subplots(rows, columns, squeeze=False)
    points = [p for panel in panels for p in panel]
    styles = method_styles(p.method for p in points)
    colour = _colours(figure, grid, points, asked, styles)
    drawn = [
        _draw_panel(axes, panel, asked, cloud, styles, colour)
        for axes, panel in zip(grid.flat, panels, strict=False)
    ]
    for spare in list(grid.flat)[len(panels) :]:
        spare.remove()
    for panel in drawn if len(panels) > 1 else []:
        panel.axes.set_title(panel.points[0].dataset, loc="left", fontsize=8)
        first = panel.axes in grid[:, 0]
        panel.axes.set_ylabel(textwrap.fill(asked.quality.axis, 28) if first else "", fontsize=8)
        panel.axes.set_xlabel(asked.cost.axis, fontsize=8)
        panel.axes.tick_params(labelsize=7)
    width = int(15 * size[0])
    title = figure.suptitle(_title(board, asked, panels, width, ""), x=0.01, ha="left", fontsize=8)
    if legend:
        _draw_legend(figure, styles, asked, cloud)
    figure.canvas.draw()
    figure.set_layout_engine("none")  # names are placed: nothing may move any more
    for panel in drawn:
        _thin_ticks(panel.axes)
    left_out = sum(_name_points(p, legend, 8 if len(panels) == 1 else 6.5) for p in drawn)
    words = "; bars that are cut go on" if any(panel.cut for panel in drawn) else ""
    words += f"; {left_out} names had no room" if left_out else ""
    if words:
        title.set_text(_title(board, asked, panels, width, words))
    return figure, left_out


def _title(board: Board, asked: Axes, panels: Panels, width: int, more: str) -> str:
    seeds = len(board.seeds)
    place = measured_on(board) if len(panels) == 1 else ", ".join(board.datasets)
    first = f"{board.protocol} on {board.backbone}: {place}; {seeds} seed"
    first += "s, bars are 95 % t intervals" if seeds > 1 else ""
    second = "black edge: on the front" + (" of all three" if asked.third else "")
    second += ", opacity: its chance with other seeds" if seeds > 1 else ""
    return "\n".join(textwrap.fill(line, width) for line in (first, second + more))


def _colours(
    figure: Figure, grid: np.ndarray, points: Sequence[ParetoPoint], asked: Axes, styles: Styles
) -> Colour:
    """Return the colour of a point: by method, or by the third quantity with a colour bar."""
    if asked.third is None:
        return lambda p: styles[p.method][0]
    paid = [p.third for p in points if p.third > 0 or not asked.third.log] or [1.0]
    low, high = min(paid), max(paid)
    norm = LogNorm(low, high) if asked.third.log and high > low else Normalize(low, high)
    cmap = mpl.colormaps["viridis"]
    bar = figure.colorbar(ScalarMappable(norm, cmap), ax=list(grid.flat), shrink=0.85, pad=0.01)
    bar.set_label(asked.third.axis)
    if asked.third.log and high > low:
        bar.ax.yaxis.set_major_locator(FixedLocator(log_ticks(low, high)))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: tick_text(v)))
    return lambda p: cmap(norm(max(p.third, low)))


def _draw_panel(
    axes: Any,
    points: Sequence[ParetoPoint],
    asked: Axes,
    cloud: pd.DataFrame | None,
    styles: Styles,
    colour: Colour,
) -> Panel:
    costs = [p.cost for p in points] + ([] if cloud is None else cloud["cost"].tolist())
    values, cut = front_geometry.span(points, asked.quality, cloud)
    x, y = set_scale(axes, "x", asked.cost, costs), set_scale(axes, "y", asked.quality, values)
    behind = [] if cloud is None else zip(cloud["cost"], cloud["quality"], strict=True)
    tried = list(dict.fromkeys((x(cost), y(quality)) for cost, quality in behind))
    if tried:  # each place once: trials that are repeated are no darker
        axes.scatter(*zip(*tried, strict=True), s=16, c=BEHIND, alpha=0.45, lw=0, zorder=0.5)
    for p in points:
        ends = tuple(y(end) for end in front_geometry.bar(p, asked.quality))
        _draw_mark(axes, p, (x(p.cost), y(p.mean)), ends, colour(p), styles[p.method][1])
    stairs = front_geometry.stairs(points, asked, x, y, axes.get_xlim())
    axes.plot(*stairs, color=GREY, lw=1.1, zorder=1)
    style_axes(axes)
    return Panel(axes, points, asked.quality, x, y, stairs, tried, cut)


def _draw_mark(
    axes: Any,
    p: ParetoPoint,
    at: tuple[float, float],
    ends: tuple[float, ...],
    colour: Any,
    mark: str,
) -> None:
    bars = None
    if not math.isnan(p.low):
        low, high = ends
        bars = [[max(0.0, at[1] - low)], [max(0.0, high - at[1])]]
    sure = p.chance if not math.isnan(p.chance) else float(p.front)
    axes.errorbar(
        [at[0]],
        [at[1]],
        yerr=bars,
        fmt=mark,
        color=colour,
        markersize=SIZE,
        markeredgecolor="black" if p.front else colour,
        markeredgewidth=1.0 if p.front else 0.5,
        elinewidth=1.0,
        capsize=3,
        alpha=FADED + (1 - FADED) * sure,
        zorder=3 if p.front else 2,
    )


def _thin_ticks(axes: Any) -> None:
    """Hide labels of the lower axis that touch the one before."""
    end = -math.inf
    for tick in axes.xaxis.get_major_ticks():
        box = tick.label1.get_window_extent()
        tick.label1.set_visible(box.x0 > end + 4)
        end = box.x1 if box.x0 > end + 4 else end


def _draw_legend(figure: Figure, styles: Styles, asked: Axes, cloud: pd.DataFrame | None) -> None:
    handles: list[Any] = [
        Line2D([], [], color=GREY if asked.third else colour, marker=mark, ls="", label=name)
        for name, (colour, mark) in styles.items()
    ]
    if cloud is not None:
        names = list(dict.fromkeys(cloud["sweep"]))
        label = f"trials of {', '.join(names) if len(names) < 3 else f'{len(names)} sweeps'}"
        handles.append(Line2D([], [], color=BEHIND, alpha=0.6, marker=".", ls="", label=label))
    draw_legend(figure, None, handles, columns=5)


def _name_points(panel: Panel, legend: bool, size: float) -> int:
    """Write the names of the points; return how many had no room."""
    single = {name for name, own in _by_method(panel.points).items() if len(own) == 1}
    few = len(panel.points) <= MANY
    named = [p for p in panel.points if few or p.front or p.chance >= MAYBE]
    named.sort(key=lambda p: (not p.front, -p.chance if p.chance == p.chance else 0.0, p.cost))
    short = {p.group: p.settings for p in named if legend and p.method not in single}
    texts = [
        panel.axes.text(
            *panel.at(p), short.get(p.group) or (p.method if legend else p.label), fontsize=size,
            color="black" if p.front else GREY, fontweight="bold" if p.front else "normal",
            zorder=4,
        )
        for p in named
    ]  # fmt: skip
    anchors, marks = (np.array([panel.at(p) for p in points]) for points in (named, panel.points))
    return len(place_labels(panel.axes, texts, anchors, marks, _obstacles(panel), SIZE))


def _obstacles(panel: Panel) -> np.ndarray:
    """Return places along the staircase and the intervals, and the cloud: (n, 2)."""
    stairs = np.column_stack(panel.stairs)
    places = [*panel.cloud]
    for share in np.linspace(0, 1, 13)[:-1]:
        places += [tuple(at) for at in (1 - share) * stairs[:-1] + share * stairs[1:]]
    for p in panel.points:
        if not math.isnan(p.low):
            low, high = (panel.y(end) for end in front_geometry.bar(p, panel.quality))
            places += [(panel.x(p.cost), y) for y in np.linspace(low, high, 3)]
    return np.array(places, dtype=float).reshape(-1, 2)
