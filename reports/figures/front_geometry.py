"""Where a front stands on its plane: its corners, and what the axis of the quality spans."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from harness.spec.quantities import Quantity
from reports.analyses.pareto import Axes, ParetoPoint
from reports.statistics import dominance

ROOM = 2.0  # times the spread of what is compared: how far bars may stretch the axis


def bar(p: ParetoPoint, quality: Quantity) -> tuple[float, float]:
    """The interval of a point; an accuracy is not below 0 or above 100."""
    high = min(p.high, 100.0) if quality.name.startswith("acc/") else p.high
    return max(p.low, 0.0), high


def span(
    points: Sequence[ParetoPoint], quality: Quantity, cloud: pd.DataFrame | None
) -> tuple[list[float], bool]:
    """The values that the axis has to show, and whether it cuts bars: those of two seeds can be so
    long that all that is compared would be one line."""
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
    """The corners of the front of the two axes: with a budget of x, the best y to be had."""
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
