"""The figure of the inside of a ring."""

import math
from pathlib import Path
from typing import Any

from matplotlib.ticker import MaxNLocator

from reports.analyses.ring_anatomy import Anatomy, clamp_cosines, towers_with_usage, usage_by_layer
from reports.figures.style import COLOURS, hide_spines, saved_figure

COLUMNS = 4


def save_anatomy(parts: Anatomy, title: str, folder: Path) -> list[Path]:
    """Write anatomy.png, .svg and .pdf.

    A heat map for each ring; below, the use of ranks by layer (if there are several) and the cores.
    """
    towers = towers_with_usage(parts)
    rows = math.ceil(len(parts.alike) / COLUMNS)
    with saved_figure((7.6, 1.9 * rows + 3.0), folder, "anatomy") as (figure, paths):
        grid = figure.add_gridspec(rows + 1, COLUMNS, height_ratios=[1.0] * rows + [1.4])
        maps = [figure.add_subplot(grid[divmod(i, COLUMNS)]) for i in range(len(parts.alike))]
        for axes, (name, cosines) in zip(maps, parts.alike.items(), strict=True):
            image = _draw_cosines(axes, name, clamp_cosines(cosines))
        figure.colorbar(image, ax=maps, label="cosine of slices", shrink=0.8)
        for i, tower in enumerate(towers):
            _draw_usage(figure.add_subplot(grid[rows, i]), parts, tower)
        _draw_cores(figure.add_subplot(grid[rows, len(towers) :]), parts)
        figure.suptitle(title, x=0.01, ha="left", fontsize=8)
    return paths


def _draw_cosines(axes: Any, name: str, cosines: Any) -> Any:
    count = len(cosines)
    edges = (0.5, count + 0.5, count + 0.5, 0.5)
    image = axes.imshow(cosines.numpy(), vmin=-1, vmax=1, cmap="RdBu_r", extent=edges)
    axes.set_title(name, fontsize=8)
    axes.set_xlabel("layer")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    return image


def _draw_usage(axes: Any, parts: Anatomy, tower: str) -> None:
    """Draw stacked bars: how a layer divides its work between ranks."""
    table = 100 * usage_by_layer(parts, tower).astype(float)
    base = 0 * table.iloc[:, 0]
    for i, rank in enumerate(table.columns):
        colour = COLOURS[i % len(COLOURS)]
        axes.bar(range(1, len(table) + 1), table[rank], bottom=base, color=colour, label=rank)
        base = base + table[rank]
    axes.set_title(f"ranks, {tower} tower", fontsize=8)
    axes.set(xlabel="layer", ylabel="share, %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.legend(fontsize=6, loc="lower right", framealpha=0.9)
    hide_spines(axes)


def _draw_cores(axes: Any, parts: Anatomy) -> None:
    places = range(len(parts.cores))
    axes.barh(places, [c.rms for c in parts.cores], color=COLOURS[0])
    axes.set_yticks(places, [c.name for c in parts.cores], fontsize=6)
    axes.invert_yaxis()
    axes.set_xlabel("root mean square of entries")
    hide_spines(axes)
