"""The picture of redundancy across layers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reports.analyses.layer_redundancy import RingFit, Spectrum, rings_on_front
from reports.figures.style import COLOURS, MARKS, STYLE, save_figure


def save_redundancy(
    spectra: Sequence[Spectrum], rings: Sequence[RingFit], title: str, folder: Path
) -> list[Path]:
    """redundancy.png, .svg and .pdf. Left: energy in the first k directions across layers. Right: a
    ring's error by its size."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.4), dpi=200, layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        for i, one in enumerate(spectra):
            look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKS[i % len(MARKS)], "ms": 4}
            _spectrum(left, one, look)
            _rings(right, [f for f in rings if f.name == one.name], look)
        _finish(left, "directions across layers", "energy held, %")
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        left.set_ylim(top=101)
        left.legend(frameon=False, fontsize=7, loc="lower right")
        _finish(right, "size of the ring over that of the layers", "relative error of the ring, %")
        right.set_xscale("log")
        right.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g} %"))
        right.set_ylim(0, 101)
        figure.suptitle(title, x=0.01, ha="left", fontsize=8)
        return save_figure(figure, folder, "redundancy")


def _spectrum(axes: Any, one: Spectrum, look: dict[str, Any]) -> None:
    held, total = [], 0.0
    for share in one.shares:
        total += 100 * share
        held.append(total)
    label = f"{one.name} ({one.effective:.1f} of {len(one.shares)} effective)"
    axes.plot(range(1, len(held) + 1), held, lw=1, label=label, **look)


def _rings(axes: Any, rings: Sequence[RingFit], look: dict[str, Any]) -> None:
    """Every ring faded, and the line of those that no smaller one beats."""
    axes.plot([f.share for f in rings], [100 * f.error for f in rings], ls="", alpha=0.25, **look)
    best = rings_on_front(rings)
    axes.plot([f.share for f in best], [100 * f.error for f in best], lw=1, **look)


def _finish(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
