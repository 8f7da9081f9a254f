"""The picture of a ring's inside."""

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.analyses.ring_anatomy import Anatomy, clamp_cosines, towers_with_usage, usage_by_layer
from reports.figures.style import COLOURS, STYLE, save_figure

COLUMNS = 4


def save_anatomy(parts: Anatomy, title: str, folder: Path) -> list[Path]:
    """anatomy.png, .svg and .pdf: a heat map a ring; below, the use of ranks by layer (if there are
    several) and the cores."""
    used = towers_with_usage(parts)
    rows = math.ceil(len(parts.alike) / COLUMNS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 1.9 * rows + 3.0), dpi=200, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(rows + 1, COLUMNS, height_ratios=[1.0] * rows + [1.4])
        maps = [figure.add_subplot(grid[divmod(i, COLUMNS)]) for i in range(len(parts.alike))]
        for axes, (name, cosines) in zip(maps, parts.alike.items(), strict=True):
            image = _heat(axes, name, clamp_cosines(cosines))
        figure.colorbar(image, ax=maps, label="cosine of slices", shrink=0.8)
        for i, tower in enumerate(used):
            _usage(figure.add_subplot(grid[rows, i]), parts, tower)
        _cores(figure.add_subplot(grid[rows, len(used) :]), parts)
        figure.suptitle(title, x=0.01, ha="left", fontsize=8)
        return save_figure(figure, folder, "anatomy")


def _heat(axes: Any, name: str, cosines: Any) -> Any:
    count = len(cosines)
    edges = (0.5, count + 0.5, count + 0.5, 0.5)
    image = axes.imshow(cosines.numpy(), vmin=-1, vmax=1, cmap="RdBu_r", extent=edges)
    axes.set_title(name, fontsize=8)
    axes.set_xlabel("layer")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    return image


def _usage(axes: Any, parts: Anatomy, tower: str) -> None:
    """Stacked bars: how a layer divides its work between ranks."""
    table = usage_by_layer(parts, tower)
    layers = range(1, len(table) + 1)
    base = [0.0] * len(table)
    for i, rank in enumerate(table.columns):
        values = [100 * float(v) for v in table[rank]]
        axes.bar(layers, values, bottom=base, color=COLOURS[i % len(COLOURS)], label=rank)
        base = [b + v for b, v in zip(base, values, strict=True)]
    axes.set_title(f"ranks, {tower} tower", fontsize=8)
    axes.set_xlabel("layer")
    axes.set_ylabel("share, %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.legend(fontsize=6, loc="lower right", framealpha=0.9)
    _open(axes)


def _cores(axes: Any, parts: Anatomy) -> None:
    places = range(len(parts.cores))
    axes.barh(places, [c.rms for c in parts.cores], color=COLOURS[0])
    axes.set_yticks(places, [c.name for c in parts.cores], fontsize=6)
    axes.invert_yaxis()
    axes.set_xlabel("root mean square of entries")
    _open(axes)


def _open(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
