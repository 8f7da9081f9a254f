"""What all pictures share: readable in print, without colour, and for the colour-blind; same input,
same bytes."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness.spec.quantities import Quantity, count_text

# Okabe and Ito's palette, told apart by colour-blind readers; each method also has its own mark.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
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
Styles = dict[str, tuple[str, str]]  # method: colour and mark


def method_styles(methods: Iterable[str]) -> Styles:
    """A colour and a mark for each method, by name."""
    names = sorted(set(methods))
    return dict(zip(names, zip(cycle(COLOURS), cycle(MARKS), strict=False), strict=False))


def save_figure(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """The figure as PNG, SVG and PDF, without dates."""
    kinds = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": "RingBench"},
        "pdf": {"CreationDate": None, "Creator": "RingBench", "Producer": None},
    }
    paths = [folder / f"{stem}.{kind}" for kind in kinds]
    for path, metadata in zip(paths, kinds.values(), strict=True):
        figure.savefig(path, metadata=metadata)
    return paths


def style_axes(axes: Any) -> None:
    """A light grid behind, two spines."""
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def cost_position(costs: Sequence[float]) -> Callable[[float], float]:
    """x of a cost: itself, and a quarter of the cheapest for a cost of zero."""
    paid = [c for c in costs if c > 0]
    zero = min(paid) / 4 if paid else 1.0
    return lambda cost: cost if cost > 0 else zero


def set_scale(
    axes: Any, way: str, quantity: Quantity, values: Sequence[float]
) -> Callable[[float], float]:
    """Set up the ``x`` or ``y`` axis of a quantity; returns where its values stand on it."""
    getattr(axes, f"set_{way}label")(quantity.axis)
    if quantity.log:
        place = cost_position(values)
        cost_axis(axes, values, place, way)
        return place
    low, high = min(values), max(values)
    pad = max(0.08 * (high - low), 0.5 if way == "y" else 0.01)
    getattr(axes, f"set_{way}lim")(low - pad, high + pad)
    return lambda value: value


def cost_axis(
    axes: Any, costs: Sequence[float], place: Callable[[float], float], way: str = "x"
) -> None:
    """Logarithmic, with three ticks at least; a column for zero where something costs nothing."""
    paid = [c for c in costs if c > 0] or [1.0]
    zero = place(0) if any(c == 0 for c in costs) else None
    left = zero / 1.6 if zero else min(paid) / 1.8
    right = max(paid) * 2.2
    floor = zero * 2.2 if zero else left
    getattr(axes, f"set_{way}scale")("log")
    getattr(axes, f"set_{way}lim")(left, right)
    axis = getattr(axes, f"{way}axis")
    axis.set_minor_locator(NullLocator())
    axis.set_major_locator(FixedLocator([*([zero] if zero else []), *log_ticks(floor, right)]))
    axis.set_major_formatter(
        FuncFormatter(lambda v, _: "0" if zero and v < floor / 1.01 else tick_text(v))
    )
    if zero:
        line = axes.axvline if way == "x" else axes.axhline
        line(zero * 1.9, color="#999999", lw=0.8, ls=(0, (2, 3)), zorder=0)


def tick_text(value: float) -> str:
    """12.3k; below ten with the digits that tell ticks apart."""
    return count_text(value) if value >= 10 else f"{value:.3g}"


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis, the fewest kinds of them that give at least three."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in TICKS:
        found = [float(f"{m}e{e}") for e in decades for m in steps]
        found = [t for t in found if low <= t <= high]
        if len(found) >= 3:
            return found
    return found
