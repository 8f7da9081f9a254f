"""The figure of redundancy across layers."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from matplotlib.ticker import FuncFormatter, MaxNLocator

from reports.analyses.layer_redundancy import RingFit, Spectrum, rings_on_front
from reports.figures.style import COLOURS, MARKS, saved_figure, style_axes


def save_redundancy(
    spectra: Sequence[Spectrum], rings: Sequence[RingFit], title: str, folder: Path
) -> list[Path]:
    """Write redundancy.png, .svg and .pdf.

    Left: the energy in the first k directions across layers. Right: a ring's error by its size.
    """
    with saved_figure((7.2, 3.4), folder, "redundancy") as (figure, paths):
        left, right = figure.subplots(1, 2)
        for i, spectrum in enumerate(spectra):
            style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKS[i % len(MARKS)], "ms": 4}
            held = list(accumulate(100 * share for share in spectrum.shares))
            label = f"{spectrum.name} ({spectrum.effective:.1f} of {len(held)} effective)"
            left.plot(range(1, len(held) + 1), held, lw=1, label=label, **style)
            _draw_rings(right, [f for f in rings if f.name == spectrum.name], style)
        left.set(xlabel="directions across layers", ylabel="energy held, %")
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        left.set_ylim(top=101)
        left.legend(frameon=False, fontsize=7, loc="lower right")
        right.set_xlabel("size of the ring over that of the layers")
        right.set_ylabel("relative error of the ring, %")
        right.set_xscale("log")
        right.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g} %"))
        right.set_ylim(0, 101)
        for axes in (left, right):
            style_axes(axes)
        figure.suptitle(title, x=0.01, ha="left", fontsize=8)
    return paths


def _draw_rings(axes: Any, rings: Sequence[RingFit], style: dict[str, Any]) -> None:
    """Draw every ring faintly, and the front as a line."""
    axes.plot([f.share for f in rings], [100 * f.error for f in rings], ls="", alpha=0.25, **style)
    front = rings_on_front(rings)
    axes.plot([f.share for f in front], [100 * f.error for f in front], lw=1, **style)
