"""Lines over steps or trials: training curves, and the best so far of a sweep."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from markupsafe import Markup

from reports.site.charts import axes, marks

Points = Sequence[tuple[float, float]]


def picture(
    series: Mapping[str, Points],
    name: str,
    labels: tuple[str, str],
    about: str,
    stairs: bool = False,
) -> Markup:
    """A line for each name; ``stairs`` for values that hold until the next."""
    known = [(x, y) for points in series.values() for x, y in points if math.isfinite(y)]
    ys = [y for _, y in known]
    low, high = min(ys), max(ys)
    room = 0.06 * (high - low) or 0.5
    x = axes.across([x for x, _ in known], labels[0])
    y = axes.upwards(low - room, high + room, labels[1])
    styles = marks.styles(series)
    body = []
    for key, points in series.items():
        placed = [(x.place(a), y.place(b)) for a, b in points if math.isfinite(b)]
        path = f"M{placed[0][0]:.1f} {placed[0][1]:.1f}" + "".join(
            f"H{a:.1f}V{b:.1f}" if stairs else f"L{a:.1f} {b:.1f}" for a, b in placed[1:]
        )
        body.append(
            f'<path class="line {styles[key][0]}" d="{path}"><title>{escape(key)}</title></path>'
        )
    return Markup(axes.svg(x, y, "\n".join(body), name, about))


def legend(names: Sequence[str]) -> Markup:
    """Which line is whose."""
    styles = marks.styles(names)
    items = "".join(f"<li>{marks.sample(styles[n])}{escape(n)}</li>" for n in styles)
    return Markup(f'<ul class="legend">{items}</ul>')
