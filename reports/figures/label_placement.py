"""Names beside their points, moved apart by adjustText; names without room are left out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from adjustText import adjust_text
from matplotlib.text import Text
from matplotlib.transforms import Bbox

STEPS = 100  # of adjustText; a limit in steps, not in time, gives the same picture every time
FORCES: dict[str, Any] = {
    "expand": (1.05, 1.25),
    "prevent_crossings": False,  # slow
    "force_text": (0.4, 0.6),
    "force_static": (0.2, 0.3),
    "force_pull": (0.005, 0.005),
    "force_explode": (0.0, 0.0),
}
FAR = 12.0  # points between a mark and its name from which on a line joins them


def place_labels(
    axes: Any,
    texts: Sequence[Text],
    anchors: np.ndarray,
    marks: np.ndarray,
    obstacles: np.ndarray,
    size: float,
) -> list[Text]:
    """Move names off each other and off all marks; return those that had no room, removed.

    ``texts`` stand at their ``anchors``, the most important first. ``marks`` are never covered;
    ``obstacles`` are avoided where possible. All are (n, 2) in data coordinates; ``size`` is that
    of a mark in points. The figure's layout must be final.
    """
    frame = axes.get_window_extent()
    boxes = [text.get_window_extent() for text in texts]
    fits = [box.width < frame.width and box.height < frame.height for box in boxes]
    left_out = [text for text, fit in zip(texts, fits, strict=True) if not fit]
    for text in left_out:
        text.remove()
    texts, anchors = [t for t, fit in zip(texts, fits, strict=True) if fit], anchors[fits]
    if not texts:
        return left_out
    dots, transform = axes.figure.dpi / 72, axes.transData
    half = 0.6 * size * dots
    centres = transform.transform(marks)
    grid = np.array([(x, y) for x in (-half, 0, half) for y in (-half, 0, half)])
    corners = transform.inverted().transform((centres[:, None] + grid).reshape(-1, 2))
    for text, anchor in zip(texts, anchors, strict=True):  # from the upper right, off the line
        start = transform.inverted().transform(transform.transform(anchor) + 1.4 * half)
        text.set(position=start, va="bottom")
    adjust_text(
        list(texts), *np.vstack([corners, obstacles]).T, target_x=anchors[:, 0],
        target_y=anchors[:, 1], ax=axes, iter_lim=STEPS, **FORCES,
    )  # fmt: skip
    used = [Bbox([at - half, at + half]) for at in centres]
    for text, anchor in zip(texts, anchors, strict=True):
        box = text.get_window_extent()
        inside = frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1)
        if not inside or box.count_overlaps(used):
            text.remove()
            left_out.append(text)
            continue
        used.append(box)
        _join(axes, box, anchor, FAR * dots)
    return left_out


def _join(axes: Any, box: Bbox, anchor: np.ndarray, far: float) -> None:
    """Draw a line from a point to the nearest place on its name's edge, if that is far."""
    at = axes.transData.transform(anchor)
    end = np.clip(at, box.min, box.max)
    if np.hypot(*(end - at)) > far:
        line = np.vstack([anchor, axes.transData.inverted().transform(end)])
        axes.plot(*line.T, color="#999999", lw=0.6, zorder=1.5)
