"""Pictures: readable in print, without colour, and for the colour-blind; same input, same bytes."""

import itertools
import math
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness.console import count_text
from reports.pareto import Point, where
from reports.table import Board

# Okabe and Ito's palette, told apart by colour-blind readers; each method also has its own mark.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h", "p")
FADED = 0.35
TICKS = (
    (1,),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
    tuple(i / 10 for i in range(10, 100)),
)
STYLE = {"font.size": 9, "svg.hashsalt": "ringbench", "axes.unicode_minus": False}

NAMES = {
    "params/trainable": "trainable parameters",
    "params/stored": "stored parameters",
    "params/inference": "parameters at inference",
    "bytes/adapter": "adapter file, bytes",
    "time/train_seconds": "training time, s",
    "time/step_ms": "time a step, ms",
    "memory/peak_bytes": "peak memory, bytes",
    "flops/step": "operations a step",
    "acc/hmean": "harmonic mean of base and novel accuracy, %",
    "acc/base": "base accuracy, %",
    "acc/novel": "novel accuracy, %",
    "acc/test": "accuracy, %",
    "acc/val": "validation accuracy, %",
    "acc/val_novel": "novel validation accuracy, %",
    "acc/val_hmean": "H on validation data, %",
}


def pareto(
    points: Sequence[Point], board: Board, cost: str, quality: str, png: Path, svg: Path
) -> None:
    """The accuracy-cost plane: intervals, front as a staircase, dominated points faded.

    The cost axis is logarithmic; what costs nothing stands in a column of its own at the left.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.6), dpi=200, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        place = places([p.cost for p in points])
        styles = _styles(points)
        for p in points:
            _mark(axes, p, place(p.cost), *styles[p.method])
        cost_axis(axes, [p.cost for p in points], place)
        stairs = _stairs(points, place, axes.get_xlim()[1])
        axes.step(*stairs, where="post", color="#555555", lw=1.1, zorder=1)
        axes.set_xlabel(NAMES.get(cost, cost))
        axes.set_ylabel(NAMES.get(quality, quality))
        seeds = len(board.seeds)
        axes.set_title(
            f"{board.protocol} on {board.backbone}: {where(board)}; {seeds} seed"
            + ("s, bars are 95 % t intervals" if seeds > 1 else ""),
            loc="left",
            fontsize=8,
        )
        axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        _limits(axes, points)
        _labels(canvas, axes, points, place, stairs)
        figure.savefig(png, metadata={"Software": None})
        figure.savefig(svg, metadata={"Date": None, "Creator": "RingBench"})


def places(costs: Sequence[float]) -> Callable[[float], float]:
    """x of a cost: itself, and a quarter of the cheapest for a cost of zero."""
    paid = [c for c in costs if c > 0]
    zero = min(paid) / 4 if paid else 1.0
    return lambda cost: cost if cost > 0 else zero


def _styles(points: Sequence[Point]) -> dict[str, tuple[str, str]]:
    names = sorted({p.method for p in points})
    return dict(zip(names, zip(cycle(COLOURS), cycle(MARKS), strict=False), strict=False))


def _mark(axes: Any, p: Point, x: float, colour: str, mark: str) -> None:
    bars = None
    if not math.isnan(p.low):
        bars = [[p.mean - p.low], [p.high - p.mean]]
    axes.errorbar(
        [x],
        [p.mean],
        yerr=bars,
        fmt=mark,
        color=colour,
        markersize=7,
        markeredgecolor="black" if p.front else colour,
        markeredgewidth=1.0 if p.front else 0.5,
        elinewidth=1.0,
        capsize=3,
        alpha=1.0 if p.front else FADED,
        zorder=3 if p.front else 2,
    )


def _stairs(
    points: Sequence[Point], place: Callable[[float], float], right: float
) -> tuple[list[float], list[float]]:
    """The corners of the front: with a budget of x, the best accuracy to be had."""
    best = [p for p in points if p.front]
    xs, ys = [place(p.cost) for p in best], [p.mean for p in best]
    return [*xs, right], [*ys, ys[-1]]


def cost_axis(axes: Any, costs: Sequence[float], place: Callable[[float], float]) -> None:
    """Logarithmic, with three ticks at least; a column for zero where something costs nothing."""
    paid = [c for c in costs if c > 0] or [1.0]
    zero = place(0) if any(c == 0 for c in costs) else None
    left = zero / 1.6 if zero else min(paid) / 1.8
    right = max(paid) * 2.2
    floor = zero * 2.2 if zero else left
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator([*([zero] if zero else []), *ticks(floor, right)]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda v, _: "0" if zero and v < floor / 1.01 else count_text(v))
    )
    if zero:
        axes.axvline(zero * 1.9, color="#999999", lw=0.8, ls=(0, (2, 3)), zorder=0)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis, the fewest kinds of them that give at least three."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in TICKS:
        found = [float(f"{m}e{e}") for e in decades for m in steps]
        found = [t for t in found if low <= t <= high]
        if len(found) >= 3:
            return found
    return found


def _limits(axes: Any, points: Sequence[Point]) -> None:
    low = min(p.mean if math.isnan(p.low) else min(p.low, p.mean) for p in points)
    high = max(p.mean if math.isnan(p.high) else max(p.high, p.mean) for p in points)
    pad = max(0.08 * (high - low), 0.5)
    axes.set_ylim(low - pad, high + pad)


def _labels(
    canvas: Any,
    axes: Any,
    points: Sequence[Point],
    place: Any,
    stairs: tuple[list[float], list[float]],
) -> None:
    """Names beside the marks, each where it covers least of what is already there."""
    canvas.draw()
    renderer = canvas.get_renderer()
    taken = [_mark_box(axes, p, place(p.cost)) for p in points]
    taken += _line_boxes(axes, stairs)
    frame = axes.get_window_extent(renderer)
    for p in sorted(points, key=lambda p: (not p.front, p.cost)):
        options: list[Any] = []
        for dx, dy, ha, va in _OFFSETS:
            text = axes.annotate(
                p.label,
                (place(p.cost), p.mean),
                (dx, dy),
                textcoords="offset points",
                ha=ha,
                va=va,
                fontsize=8,
                color="black" if p.front else "#555555",
                fontweight="bold" if p.front else "normal",
                zorder=4,
            )
            box = text.get_window_extent(renderer)
            outside = not (
                frame.x0 <= box.x0
                and box.x1 <= frame.x1
                and frame.y0 <= box.y0
                and box.y1 <= frame.y1
            )
            cost = sum(_overlap(box, t) for t in taken) + (1e6 if outside else 0)
            options.append((cost, len(options), box, text))
        best = min(options, key=lambda o: o[:2])
        for option in options:
            if option is not best:
                option[3].remove()
        taken.append(best[2])


_OFFSETS = (
    (8, 0, "left", "center"),
    (-8, 0, "right", "center"),
    (0, 8, "center", "bottom"),
    (0, -8, "center", "top"),
    (8, 8, "left", "bottom"),
    (8, -8, "left", "top"),
    (-8, 8, "right", "bottom"),
    (-8, -8, "right", "top"),
    (14, 18, "left", "bottom"),
    (14, -18, "left", "top"),
    (-14, 18, "right", "bottom"),
    (-14, -18, "right", "top"),
)


def _mark_box(axes: Any, p: Point, x: float) -> Any:
    """The pixels a mark and its interval cover."""
    low, high = (p.mean, p.mean) if math.isnan(p.low) else (p.low, p.high)
    (x0, y0), (_, y1) = axes.transData.transform([(x, low), (x, high)])
    return mpl.transforms.Bbox.from_extents(x0 - 9, y0 - 9, x0 + 9, y1 + 9)


def _line_boxes(axes: Any, stairs: tuple[list[float], list[float]]) -> list[Any]:
    """The pixels the staircase covers, as thin boxes."""
    corners = axes.transData.transform(list(zip(*stairs, strict=True)))
    boxes = []
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        boxes.append(mpl.transforms.Bbox.from_extents(x0, y0 - 4, x1, y0 + 4))
        low, high = sorted((y0, y1))
        boxes.append(mpl.transforms.Bbox.from_extents(x1 - 4, low, x1 + 4, high))
    return boxes


def _overlap(a: Any, b: Any) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(0.0, float(width)) * max(0.0, float(height))
