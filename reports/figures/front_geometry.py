"""The corners of a front in its figure, and the range of the quality axis."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from harness.spec.quantities import Quantity
from reports.analyses.pareto import Axes, ParetoPoint
from reports.statistics import dominance

ROOM = 2.0  # how far intervals may stretch the axis, in ranges of the means


def bar(p: ParetoPoint, quality: Quantity) -> tuple[float, float]:
    """Return the interval of a point, an accuracy within 0 and 100."""
    high = min(p.high, 100.0) if quality.name.startswith("acc/") else p.high
    return max(p.low, 0.0), high


def span(
    points: Sequence[ParetoPoint], quality: Quantity, cloud: pd.DataFrame | None
) -> tuple[list[float], bool]:
    """Return the values that the axis has to show, and whether it cuts intervals.

    Intervals of two seeds can be so long that all points would lie on one line.
    """
    shown = [p.mean for p in points] + ([] if cloud is None else cloud["quality"].tolist())
    ends = [end for p in points if not math.isnan(p.low) for end in bar(p, quality)]
    low, high = min(shown), max(shown)
    if quality.log or low == high:
        return [*shown, *ends], False
    room = ROOM * (high - low)
    kept = [min(max(end, low - room), high + room) for end in ends]
    return [*shown, *kept], kept != ends


def stairs(
    points: Sequence[ParetoPoint],
    asked: Axes,
    x: Callable[[float], float],
    y: Callable[[float], float],
    limits: tuple[float, float],
) -> tuple[list[float], list[float]]:
    """Return the corners of the front: the best y within a budget of x."""
    signs = np.array([asked.cost.sign, asked.quality.sign])
    on = dominance.on_front(signs * np.array([[p.cost, p.mean] for p in points]))
    best = sorted((x(p.cost), y(p.mean)) for p, kept in zip(points, on, strict=True) if kept)
    down = asked.cost.sign > 0
    if not down:  # more is better: what can be had with at least x
        best = [(limits[0], best[0][1]), *best]
    xs, ys = [best[0][0]], [best[0][1]]
    for x1, y1 in best[1:]:
        xs, ys = [*xs, x1 if down else xs[-1], x1], [*ys, ys[-1] if down else y1, y1]
    return ([*xs, limits[1]], [*ys, ys[-1]]) if down else (xs, ys)
