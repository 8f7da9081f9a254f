"""Accuracy against size, a line a method: the picture of a rank sweep."""

import itertools
import math
import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.analyses.rank_curves import Curve, RankCurves
from reports.figures.label_placement import Box, pixel, place
from reports.figures.style import STYLE, method_styles, save_figure, set_scale, style_axes

LINES = ("-", "--", "-.", ":")
GREY = "#555555"
SIZE = 5.5
FONT = 7


def save_curves(found: RankCurves, folder: Path) -> list[Path]:
    """pareto-curves.png, pareto-curves.svg and pareto-curves.pdf."""
    with mpl.rc_context(STYLE):
        return save_figure(draw_curves(found), folder, "pareto-curves")


def draw_curves(found: RankCurves) -> Figure:
    """A line and a band of t intervals for each method; one of a single size is a mark."""
    figure = Figure(figsize=(7.2, 4.6), dpi=200, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = [p for c in found.curves for p in c.points]
    every = [*shown, *([found.zero] if found.zero else [])]
    values = [v for p in every for v in (p.mean, p.low, p.high) if not math.isnan(v)]
    set_scale(axes, "x", found.asked.cost, [p.cost for p in shown])
    set_scale(axes, "y", found.asked.quality, values)
    look = method_styles(c.method for c in found.curves)
    for i, curve in enumerate(found.curves):
        _curve(axes, curve, *look[curve.method], LINES[i % len(LINES)])
    if found.zero is not None:
        axes.axhline(
            found.zero.mean, color=GREY, ls=(0, (4, 3)), lw=1.2, zorder=1, label="zero-shot"
        )
    bands = "bands are 95 % t intervals over seeds; at each size the configuration that validation"
    title = "\n".join(textwrap.fill(t, 108) for t in (found.title, f"{bands} chooses"))
    axes.set_title(title, loc="left", fontsize=8)
    style_axes(axes)
    count = len(axes.get_legend_handles_labels()[1])
    figure.legend(loc="outside lower left", ncols=min(4, count), fontsize=8, frameon=False)
    canvas.draw()
    figure.set_layout_engine("none")  # names are placed in pixels: nothing may move any more
    _names(axes, found, canvas.get_renderer(), {m: c for m, (c, _) in look.items()})
    return figure


def _curve(axes: Any, curve: Curve, colour: str, mark: str, line: str) -> None:
    x, y = [p.cost for p in curve.points], [p.mean for p in curve.points]
    label = f"{curve.method}, {curve.key}" if curve.key else curve.method
    axes.plot(x, y, line, color=colour, marker=mark, ms=SIZE, lw=1.5, label=label, zorder=3)
    known = [p for p in curve.points if not math.isnan(p.low)]
    low, high = [p.low for p in known], [p.high for p in known]
    if len(known) > 1:
        axes.fill_between([p.cost for p in known], low, high, color=colour, alpha=0.13, lw=0)
    elif known:
        bar = [[known[0].mean - low[0]], [high[0] - known[0].mean]]
        axes.errorbar([known[0].cost], [known[0].mean], bar, color=colour, capsize=3, lw=1)


def _names(axes: Any, found: RankCurves, renderer: Any, colours: dict[str, str]) -> None:
    """The values of the setting that moves, beside their points where there is room."""
    named = [
        (c.method, p, v) for c in found.curves for p, v in zip(c.points, c.values, strict=False)
    ]
    to_pixels = axes.transData.transform
    dots = renderer.dpi / 72
    half = 0.65 * SIZE * dots
    marks = []
    lines = []
    for curve in found.curves:
        corners = to_pixels([(p.cost, p.mean) for p in curve.points])
        marks += [Box(x - half, y - half, x + half, y + half) for x, y in corners]
        for (a, b), (c, d) in itertools.pairwise(corners):
            for i in range(8):  # a slanting line as a row of small boxes
                x, y = a + (c - a) * i / 8, b + (d - b) * i / 8
                u, v = a + (c - a) * (i + 1) / 8, b + (d - b) * (i + 1) / 8
                lines.append(Box(x, min(y, v) - 2, u, max(y, v) + 2))
    texts = [
        axes.text(0, 0, value, fontsize=FONT, color=colours[method], transform=None, zorder=4)
        for method, _, value in named
    ]
    sizes = [(b.width + 2, b.height + 2) for b in (t.get_window_extent(renderer) for t in texts)]
    anchors = [pixel(axes, (p.cost, p.mean)) for _, p, _ in named]
    frame = Box(*axes.get_window_extent(renderer).extents)
    for text, spot in zip(texts, place(anchors, sizes, marks, lines, frame, 5 * dots), strict=True):
        if spot is None or spot.far:
            text.remove()
            continue
        shift = [spot.box.x0 + 1, spot.box.y0 + 1] - text.get_window_extent(renderer).extents[:2]
        text.set_position(axes.transAxes.inverted().transform(shift))
        text.set_transform(axes.transAxes)


def write_curves(found: RankCurves, folder: Path) -> list[Path]:
    """pareto-curves.png, .svg and .pdf; same rows, same bytes."""
    # matplotlib is slow to import

    folder.mkdir(parents=True, exist_ok=True)
    return save_curves(found, folder)
