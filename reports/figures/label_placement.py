"""Where names go in a picture: beside their points, on no mark and on no other name.

Everything is in pixels. A name that has no room near its point stands further off, to be joined to
it by a line; one that has no room at all is left out.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

RINGS = (1.0, 2.2, 3.6, 5.5, 8.0, 11.0)  # gaps between a mark and its name, in units of the gap
DIRECTIONS = 16
FAR = 2.0  # gaps from which on a line joins name and point


class Box(NamedTuple):
    """A rectangle."""

    x0: float
    y0: float
    x1: float
    y1: float


class Place(NamedTuple):
    """Where a name stands, and whether it needs a line to its point."""

    box: Box
    far: bool


def place(
    anchors: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    marks: Sequence[Box],
    lines: Sequence[Box],
    frame: Box,
    gap: float,
) -> list[Place | None]:
    """A place for each name of a width and height, first come first served.

    ``marks`` are never covered, ``lines`` (bars, staircases) where there is another way.
    """
    hard = np.array(marks, dtype=float).reshape(-1, 4)
    soft = np.array(lines, dtype=float).reshape(-1, 4)
    found: list[Place | None] = []
    for anchor, size in zip(anchors, sizes, strict=True):
        best = _best(anchor, size, hard, soft, frame, gap)
        found.append(best)
        if best is None:
            continue
        hard = np.vstack([hard, best.box])
        if best.far:
            soft = np.vstack([soft, *_joining(anchor, best.box)])
    return found


def join(anchor: tuple[float, float], box: Box) -> tuple[float, float]:
    """The end of the line from a point to its name: the nearest place on the name's edge."""
    return min(max(anchor[0], box.x0), box.x1), min(max(anchor[1], box.y0), box.y1)


def pixel(axes: Any, at: tuple[float, float]) -> tuple[float, float]:
    """Where a place of the data lies in the picture."""
    x, y = axes.transData.transform(at)
    return float(x), float(y)


def _best(
    anchor: tuple[float, float],
    size: tuple[float, float],
    hard: np.ndarray,
    soft: np.ndarray,
    frame: Box,
    gap: float,
) -> Place | None:
    options, prices = _options(anchor, size, gap)
    inside = (
        (options[:, 0] >= frame.x0)
        & (options[:, 1] >= frame.y0)
        & (options[:, 2] <= frame.x1)
        & (options[:, 3] <= frame.y1)
    )
    free = inside & (_overlap(options, hard).sum(1) == 0)
    if not free.any():
        return None
    crossed = _overlap(options, soft).sum(1) / (size[0] * size[1])
    best = int(np.argmin(np.where(free, prices + 12 * crossed, np.inf)))
    return Place(Box(*options[best]), prices[best] >= FAR)


def _options(
    anchor: tuple[float, float], size: tuple[float, float], gap: float
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes around a point, nearest first, and how far off they are; sideways is dearest last."""
    boxes, prices = [], []
    (x, y), (width, height) = anchor, size
    for ring, turn in itertools.product(RINGS, range(DIRECTIONS)):
        angle = 2 * math.pi * turn / DIRECTIONS
        cx = x + math.cos(angle) * (ring * gap + width / 2)
        cy = y + math.sin(angle) * (ring * gap + height / 2)
        boxes.append((cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2))
        prices.append(ring + 0.2 * (turn % (DIRECTIONS // 4) > 0) + 0.01 * turn)
    for ring, right, up in itertools.product(RINGS, (1, -1), (1, -1)):  # past a bar and a stair
        cx, cy = (
            x + right * (0.7 * ring * gap + width / 2),
            y + up * (0.7 * ring * gap + height / 2),
        )
        boxes.append((cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2))
        prices.append(ring + 0.25 + 0.01 * (right < 0) + 0.02 * (up < 0))
    return np.array(boxes), np.array(prices)


def _overlap(options: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(option, box): the area that they share."""
    a, b = options[:, None], boxes[None]
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    found: np.ndarray = np.maximum(width, 0) * np.maximum(height, 0)
    return found


def _joining(anchor: tuple[float, float], box: Box, pieces: int = 6) -> list[Box]:
    """The line from a point to its name, as small boxes."""
    end = join(anchor, box)
    steps = np.linspace(0, 1, pieces + 1)
    xs = anchor[0] + steps * (end[0] - anchor[0])
    ys = anchor[1] + steps * (end[1] - anchor[1])
    return [
        Box(min(a, b) - 1, min(c, d) - 1, max(a, b) + 1, max(c, d) + 1)
        for (a, b), (c, d) in zip(itertools.pairwise(xs), itertools.pairwise(ys), strict=True)
    ]
