"""The front as a picture: intervals, staircase, chances as opacity, names that lie on nothing."""

import itertools
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness.spec.quantities import Quantity
from reports.analyses.pareto import Axes, ParetoPoint, find_axes, measured_on, pareto_points
from reports.figures import front_geometry
from reports.figures.label_placement import Box, join, pixel, place
from reports.figures.style import (
    STYLE,
    Styles,
    log_ticks,
    method_styles,
    save_figure,
    set_scale,
    style_axes,
    tick_text,
)
from reports.results.board import Board
from reports.tables.pareto import pareto_files

FADED = 0.3
MANY = 30  # points beyond which only those are named that may be on the front
MAYBE = 0.05
GREY, BEHIND = "#555555", "#777777"
SIZE = 7.0  # of a mark, in points
Colour = Callable[[ParetoPoint], Any]


@dataclass(frozen=True)
class Panel:
    """A plane with its points and its cloud, where they stand on it, and whether it cuts bars."""

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


def save_pareto(
    panels: Sequence[Sequence[ParetoPoint]],
    board: Board,
    asked: Axes,
    cloud: pd.DataFrame | None,
    folder: Path,
) -> list[Path]:
    """pareto.png, pareto.svg and pareto.pdf."""
    with mpl.rc_context(STYLE):
        return save_figure(draw_pareto(panels, board, asked, cloud), folder, "pareto")


def draw_pareto(
    panels: Sequence[Sequence[ParetoPoint]], board: Board, asked: Axes, cloud: pd.DataFrame | None
) -> Figure:
    """One plane, or one a data set; costs are logarithmic, what costs nothing stands in a column
    of its own. Methods are told by a legend where not every point has room for its name."""
    found = [p for panel in panels for p in panel]
    several = any(len({p.settings for p in q}) > 1 for q in _by_method(found).values())
    figure, left_out = _draw(panels, board, asked, cloud, several)
    return _draw(panels, board, asked, cloud, True)[0] if left_out and not several else figure


def _by_method(found: Sequence[ParetoPoint]) -> dict[str, list[ParetoPoint]]:
    return {name: [p for p in found if p.method == name] for name in {p.method for p in found}}


def _draw(
    panels: Sequence[Sequence[ParetoPoint]],
    board: Board,
    asked: Axes,
    cloud: pd.DataFrame | None,
    legend: bool,
) -> tuple[Figure, int]:
    """The figure, and how many names it has no room for."""
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    size = (7.2, 4.8) if len(panels) == 1 else (3.6 * columns, 2.9 * rows + 0.6)
    figure = Figure(figsize=size, dpi=200, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    found = [p for panel in panels for p in panel]
    styled = method_styles(p.method for p in found)
    colour = _colours(figure, grid, found, asked, styled)
    drawn = [
        _panel(axes, panel, asked, cloud, styled, colour)
        for axes, panel in zip(grid.flat, panels, strict=False)
    ]
    for spare in list(grid.flat)[len(panels) :]:
        spare.remove()
    for one in drawn if len(panels) > 1 else []:
        one.axes.set_title(one.points[0].dataset, loc="left", fontsize=8)
        first = one.axes in grid[:, 0]
        one.axes.set_ylabel(textwrap.fill(asked.quality.axis, 28) if first else "", fontsize=8)
        one.axes.set_xlabel(asked.cost.axis, fontsize=8)
        one.axes.tick_params(labelsize=7)
    width = int(15 * size[0])
    title = figure.suptitle(_title(board, asked, panels, width, ""), x=0.01, ha="left", fontsize=8)
    if legend:
        _legend(figure, styled, asked, cloud)
    canvas.draw()
    figure.set_layout_engine("none")  # names are placed in pixels: nothing may move any more
    renderer = canvas.get_renderer()
    for one in drawn:
        _thin(one.axes, renderer)
    left_out = sum(_name(one, renderer, legend, 8 if len(panels) == 1 else 6.5) for one in drawn)
    words = "; bars that are cut go on" if any(one.cut for one in drawn) else ""
    words += f"; {left_out} names had no room" if left_out else ""
    if words:
        title.set_text(_title(board, asked, panels, width, words))
    return figure, left_out


def _title(
    board: Board, asked: Axes, panels: Sequence[Sequence[ParetoPoint]], width: int, more: str
) -> str:
    seeds = len(board.seeds)
    place = measured_on(board) if len(panels) == 1 else ", ".join(board.datasets)
    first = f"{board.protocol} on {board.backbone}: {place}; {seeds} seed"
    first += "s, bars are 95 % t intervals" if seeds > 1 else ""
    second = "black edge: on the front" + (" of all three" if asked.third else "")
    second += ", opacity: its chance with other seeds" if seeds > 1 else ""
    return "\n".join(textwrap.fill(line, width) for line in (first, second + more))


def _colours(
    figure: Figure, grid: np.ndarray, found: Sequence[ParetoPoint], asked: Axes, styled: Styles
) -> Colour:
    """Of the method; of the third quantity, with its bar, where there is one."""
    if asked.third is None:
        return lambda p: styled[p.method][0]
    paid = [p.third for p in found if p.third > 0 or not asked.third.log] or [1.0]
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


def _panel(
    axes: Any,
    points: Sequence[ParetoPoint],
    asked: Axes,
    cloud: pd.DataFrame | None,
    styled: Styles,
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
        _mark(axes, p, (x(p.cost), y(p.mean)), ends, colour(p), styled[p.method][1])
    stairs = front_geometry.stairs(points, asked, x, y, axes.get_xlim())
    axes.plot(*stairs, color=GREY, lw=1.1, zorder=1)
    style_axes(axes)
    return Panel(axes, points, asked.quality, x, y, stairs, tried, cut)


def _mark(
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


def _thin(axes: Any, renderer: Any) -> None:
    """No label of the lower axis touches the one before it."""
    end = -math.inf
    for tick in axes.xaxis.get_major_ticks():
        box = tick.label1.get_window_extent(renderer)
        tick.label1.set_visible(box.x0 > end + 4)
        end = box.x1 if box.x0 > end + 4 else end


def _legend(figure: Figure, styled: Styles, asked: Axes, cloud: pd.DataFrame | None) -> None:
    """The methods, below the axes, where a legend lies on nothing."""
    handles: list[Any] = [
        Line2D([], [], color=GREY if asked.third else colour, marker=mark, ls="", label=name)
        for name, (colour, mark) in styled.items()
    ]
    if cloud is not None:
        names = list(dict.fromkeys(cloud["sweep"]))
        label = f"trials of {', '.join(names) if len(names) < 3 else f'{len(names)} sweeps'}"
        handles.append(Line2D([], [], color=BEHIND, alpha=0.6, marker=".", ls="", label=label))
    figure.legend(
        handles=handles, loc="outside lower left", ncols=min(5, len(handles)), fontsize=8,
        frameon=False,
    )  # fmt: skip


def _name(panel: Panel, renderer: Any, legend: bool, size: float) -> int:
    """Write the names of the points; returns how many had no room."""
    axes = panel.axes
    alone = {name for name, found in _by_method(panel.points).items() if len(found) == 1}
    few = len(panel.points) <= MANY
    named = [p for p in panel.points if few or p.front or p.chance >= MAYBE]
    named.sort(key=lambda p: (not p.front, -p.chance if p.chance == p.chance else 0.0, p.cost))
    short = {p.group: p.settings for p in named if legend and p.method not in alone}
    texts = [
        axes.text(
            0, 0, short.get(p.group) or (p.method if legend else p.label), fontsize=size,
            color="black" if p.front else GREY, fontweight="bold" if p.front else "normal",
            zorder=4, transform=None,
        )
        for p in named
    ]  # fmt: skip
    boxes = [t.get_window_extent(renderer) for t in texts]
    anchors = [pixel(axes, panel.at(p)) for p in named]
    scale_ = renderer.dpi / 72
    marks = [_around(axes.transData.transform(panel.at(p)), SIZE * scale_) for p in panel.points]
    frame = Box(*axes.get_window_extent(renderer).extents)
    places = place(
        anchors, [(1.04 * b.width + 2, b.height + 2) for b in boxes], marks, _lines(panel), frame,
        SIZE * scale_,
    )  # fmt: skip
    for p, text, found, anchor in zip(named, texts, places, anchors, strict=True):
        if found is None:
            text.remove()
            continue
        shift = np.array(found.box[:2]) + 1 - text.get_window_extent(renderer).extents[:2]
        text.set_position(axes.transAxes.inverted().transform(shift))
        text.set_transform(axes.transAxes)  # a place that every resolution shows
        if found.far:
            end = axes.transData.inverted().transform(join(anchor, found.box))
            at = panel.at(p)
            axes.plot([at[0], end[0]], [at[1], end[1]], color="#999999", lw=0.6, zorder=1.5)
    return sum(found is None for found in places)


def _around(at: Any, width: float) -> Box:
    """The pixels that a mark covers."""
    half = 0.62 * width
    return Box(at[0] - half, at[1] - half, at[0] + half, at[1] + half)


def _lines(panel: Panel) -> list[Box]:
    """The pixels of the staircase, of the bars and of the cloud, as small boxes."""
    to_pixels = panel.axes.transData.transform
    corners = to_pixels(np.column_stack(panel.stairs))
    boxes = [
        Box(min(a, c) - 3, min(b, d) - 3, max(a, c) + 3, max(b, d) + 3)
        for (a, b), (c, d) in itertools.pairwise(corners)
    ]
    for p in panel.points:
        if not math.isnan(p.low):
            x, (low, high) = panel.x(p.cost), front_geometry.bar(p, panel.quality)
            (x0, y0), (_, y1) = to_pixels([(x, panel.y(low)), (x, panel.y(high))])
            boxes.append(Box(x0 - 5, y0, x0 + 5, y1))
    dots = to_pixels(panel.cloud) if panel.cloud else []
    return boxes + [Box(a - 6, b - 6, a + 6, b + 6) for a, b in dots]


def write_pareto(board: Board, folder: Path, cost: str, quality: str) -> list[Path]:
    """Write pareto.png, .svg, .pdf and .csv, and pareto-families.csv; same rows, same bytes."""
    from reports.analyses import dominated_share  # matplotlib is slow to import

    folder.mkdir(parents=True, exist_ok=True)
    asked = find_axes(board, cost, quality)
    found = pareto_points(board, cost, quality)
    made = pareto_files([found], dominated_share.dominated_shares(board, found, asked), asked)
    for name, text in made.items():
        (folder / name).write_text(text)
    drawn = save_pareto([found], board, asked, None, folder) if found else []
    return [*drawn, *(folder / name for name in made)]
