"""The figure of rank curves: accuracy against size, a line per method."""

import math
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from reports.analyses.rank_curves import STEM, Curve, RankCurves
from reports.figures.label_placement import place_labels
from reports.figures.style import (
    GREY,
    draw_legend,
    method_styles,
    saved_figure,
    set_scale,
    style_axes,
)

LINES = ("-", "--", "-.", ":")
SIZE = 5.5  # of a mark, in points


def save_curves(curves: RankCurves, folder: Path) -> list[Path]:
    """Write pareto-curves.png, .svg and .pdf."""
    with saved_figure((7.2, 4.6), folder, STEM) as (figure, paths):
        draw_curves(curves, figure)
    return paths


def draw_curves(curves: RankCurves, figure: Figure) -> None:
    """Draw a line and a band of t intervals for each method; a mark for a single size."""
    axes = figure.add_subplot()
    shown = [p for c in curves.curves for p in c.points]
    zero_shot = curves.zero_shot
    every = [*shown, *([zero_shot] if zero_shot else [])]
    values = [v for p in every for v in (p.mean, p.low, p.high) if not math.isnan(v)]
    set_scale(axes, "x", curves.axes.cost, [p.cost for p in shown])
    set_scale(axes, "y", curves.axes.quality, values)
    styles = method_styles(c.method for c in curves.curves)
    for i, curve in enumerate(curves.curves):
        _draw_curve(axes, curve, *styles[curve.method], LINES[i % len(LINES)])
    if zero_shot is not None:
        style: dict[str, Any] = {"color": GREY, "ls": (0, (4, 3)), "lw": 1.2, "zorder": 1}
        axes.axhline(zero_shot.mean, label="zero-shot", **style)
    bands = "bands are 95 % t intervals over seeds; at each size the configuration that validation"
    title = "\n".join(textwrap.fill(t, 108) for t in (curves.title, f"{bands} chooses"))
    axes.set_title(title, loc="left", fontsize=8)
    style_axes(axes)
    draw_legend(figure, axes)
    figure.canvas.draw()
    figure.set_layout_engine("none")  # names are placed: nothing may move any more
    _name_points(axes, curves, {method: colour for method, (colour, _) in styles.items()})


def _draw_curve(axes: Any, curve: Curve, colour: str, mark: str, line: str) -> None:
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


def _name_points(axes: Any, curves: RankCurves, colours: dict[str, str]) -> None:
    """Write the values of the varying setting beside their points where there is room."""
    named = [
        (c.method, (p.cost, p.mean), value)
        for c in curves.curves
        for p, value in zip(c.points, c.values, strict=False)
    ]
    texts = [
        axes.text(*at, value, fontsize=7, color=colours[method], zorder=4)
        for method, at, value in named
    ]
    lines = [np.array([(p.cost, p.mean) for p in c.points]) for c in curves.curves]
    between = [(1 - t) * line[:-1] + t * line[1:] for line in lines for t in (0.2, 0.4, 0.6, 0.8)]
    anchors = np.array([at for _, at, _ in named])
    place_labels(axes, texts, anchors, np.vstack(lines), np.vstack(between), SIZE)
