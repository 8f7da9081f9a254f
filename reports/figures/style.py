"""Style, files and axes of all figures.

Figures are readable in print, without colour and for colour-blind readers. The same input gives the
same bytes.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from harness.spec.quantities import Quantity, count_text

# Okabe and Ito's palette, told apart by colour-blind readers; each method also has its own mark.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
GREY = "#555555"
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h", "p")
TICKS = (
    (1,),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
    tuple(i / 10 for i in range(10, 100)),
)
STYLE = {
    "font.size": 9,
    "svg.hashsalt": "ringbench",
    "axes.unicode_minus": False,
    "pdf.fonttype": 42,  # fonts that journals take
}
METADATA: dict[str, dict[str, str | None]] = {  # none with a date
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "RingBench"},
    "pdf": {"CreationDate": None, "Creator": "RingBench", "Producer": None},
}
Styles = dict[str, tuple[str, str]]  # method: colour and mark


def method_styles(methods: Iterable[str]) -> Styles:
    """Return a colour and a mark for each method, by name."""
    names = sorted(set(methods))
    return dict(zip(names, zip(cycle(COLOURS), cycle(MARKS), strict=False), strict=False))


def new_figure(size: tuple[float, float]) -> Figure:
    """Return a figure of a size in inches, for use inside ``mpl.rc_context(STYLE)``."""
    figure = Figure(figsize=size, dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, folder: Path, stem: str, kinds: Sequence[str] = ()) -> list[Path]:
    """Save the figure as PNG, SVG and PDF (or some of them), without dates."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}.{kind}" for kind in kinds or METADATA]
    for path in paths:
        figure.savefig(path, metadata=METADATA[path.suffix[1:]])
    return paths


@contextmanager
def saved_figure(
    size: tuple[float, float], folder: Path, stem: str, kinds: Sequence[str] = ()
) -> Iterator[tuple[Figure, list[Path]]]:
    """A figure that is saved at the end, and the list that then names its files."""
    paths: list[Path] = []
    with mpl.rc_context(STYLE):
        figure = new_figure(size)
        yield figure, paths
        paths += save_figure(figure, folder, stem, kinds)


def draw_legend(figure: Figure, axes: Any, handles: Sequence[Any] = (), columns: int = 4) -> None:
    """Draw the legend below the axes, where it covers nothing."""
    handles = handles or axes.get_legend_handles_labels()[0]
    figure.legend(
        handles=handles, loc="outside lower left", ncols=min(columns, len(handles)), fontsize=8,
        frameon=False,
    )  # fmt: skip


def style_axes(axes: Any) -> None:
    """Draw a light grid behind and two spines."""
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    hide_spines(axes)


def hide_spines(axes: Any) -> None:
    """Hide the top and right spines."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def cost_position(costs: Sequence[float]) -> Callable[[float], float]:
    """Return the position of a cost: itself; a quarter of the lowest for a cost of zero."""
    paid = [c for c in costs if c > 0]
    zero = min(paid) / 4 if paid else 1.0
    return lambda cost: cost if cost > 0 else zero


def set_scale(
    axes: Any, xy: str, quantity: Quantity, values: Sequence[float]
) -> Callable[[float], float]:
    """Set up the ``x`` or ``y`` axis of a quantity; return the position of a value on it."""
    getattr(axes, f"set_{xy}label")(quantity.axis)
    if quantity.log:
        place = cost_position(values)
        cost_axis(axes, values, place, xy)
        return place
    low, high = min(values), max(values)
    pad = max(0.08 * (high - low), 0.5 if xy == "y" else 0.01)
    getattr(axes, f"set_{xy}lim")(low - pad, high + pad)
    return lambda value: value


def cost_axis(
    axes: Any, costs: Sequence[float], place: Callable[[float], float], xy: str = "x"
) -> None:
    """Set up a logarithmic axis with at least three ticks, and a column for zero if needed."""
    paid = [c for c in costs if c > 0] or [1.0]
    zero = place(0) if any(c == 0 for c in costs) else None
    left = zero / 1.6 if zero else min(paid) / 1.8
    right = max(paid) * 2.2
    floor = zero * 2.2 if zero else left
    getattr(axes, f"set_{xy}scale")("log")
    getattr(axes, f"set_{xy}lim")(left, right)
    axis = getattr(axes, f"{xy}axis")
    axis.set_minor_locator(NullLocator())
    axis.set_major_locator(FixedLocator([*([zero] if zero else []), *log_ticks(floor, right)]))
    axis.set_major_formatter(
        FuncFormatter(lambda v, _: "0" if zero and v < floor / 1.01 else tick_text(v))
    )
    if zero:
        line = axes.axvline if xy == "x" else axes.axhline
        line(zero * 1.9, color="#999999", lw=0.8, ls=(0, (2, 3)), zorder=0)


def tick_text(value: float) -> str:
    """Return 12.3k, or below ten the digits that tell ticks apart."""
    return count_text(value) if value >= 10 else f"{value:.3g}"


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers on a logarithmic axis, the roundest that give at least three."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in TICKS:
        numbers = [float(f"{m}e{e}") for e in decades for m in steps]
        ticks = [t for t in numbers if low <= t <= high]
        if len(ticks) >= 3:
            break
    return ticks


def linear_ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Return about six round values within a span, only whole numbers if ``whole``."""
    locator = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10], integer=whole)
    return [round(float(t), 12) for t in locator.tick_values(low, high) if low <= t <= high]
