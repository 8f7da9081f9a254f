"""Accuracy against a cost as a picture that answers: marks are links, curves are methods."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from reports.site.charts import axes, marks
from reports.site.charts.axes import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis
from reports.statistics.dominance import front_of_pairs

LETTER = 7.4  # user units that a letter of a name takes at most, on average
LONGEST = 40  # letters of a name


@dataclass(frozen=True)
class Dot:
    """``says`` is what is told when it is pointed at; ``chance`` that of being on the front, were
    the seeds others; ``href`` a path from the site's root."""

    method: str
    label: str
    cost: float
    mean: float
    low: float
    high: float
    says: str
    chance: float
    href: str


def best(dots: Sequence[Dot]) -> set[int]:
    """Indices of the dots on the front."""
    return front_of_pairs([(d.cost, d.mean) for d in dots])


def picture(
    dots: Sequence[Dot], name: str, labels: tuple[str, str], about: str, root: str
) -> Markup:
    """The picture; ``labels`` name cost and quality."""
    x = axes.costs([d.cost for d in dots], labels[0])
    low, high = _span(dots)
    y = axes.upwards(low, high, labels[1])
    styles = marks.styles(d.method for d in dots)
    on = best(dots)
    order = sorted(range(len(dots)), key=lambda i: (i in on, dots[i].cost, dots[i].label))
    body = [stairs([(dots[i].cost, dots[i].mean) for i in on], x, y), _curves(dots, x, y, styles)]
    body += [_dot(dots[i], x, y, styles, i in on, root) for i in order]
    body += _labels([dots[i] for i in sorted(on, key=lambda i: -dots[i].mean)], dots, x, y)
    return Markup(axes.svg(x, y, "\n".join(body), name, about))


def legend(names: Sequence[str], chart: str) -> Markup:
    """Boxes that switch methods on and off; without a script they are a plain legend."""
    styles = marks.styles(names)
    items = "".join(
        f'<label><input type="checkbox" checked disabled data-chart="{escape(chart)}"'
        f' data-method="{escape(name)}">{marks.sample(style)}{escape(name)}</label>'
        for name, style in styles.items()
    )
    return Markup(f'<fieldset class="legend"><legend>Methods shown</legend>{items}</fieldset>')


def _span(dots: Sequence[Dot]) -> tuple[float, float]:
    """Means with room; intervals too where they are not far wider than what is compared."""
    means = [d.mean for d in dots]
    low, high = min(means), max(means)
    room = max(high - low, 1.0)
    ends = [e for d in dots for e in (d.low, d.high) if not math.isnan(e)]
    low = min([low - 0.12 * room, *(e for e in ends if e > low - 0.6 * room)])
    high = max([high + 0.12 * room, *(e for e in ends if e < high + 0.6 * room)])
    return low - 0.02 * room, high + 0.02 * room


def stairs(best: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    """The front through its (cost, quality) pairs."""
    steps = sorted((x.place(cost), y.place(quality)) for cost, quality in best)
    path = f"M{steps[0][0]:.1f} {steps[0][1]:.1f}"
    path += "".join(f"H{a:.1f}V{b:.1f}" for a, b in steps[1:])
    return f'<path class="front" d="{path}H{WIDTH - RIGHT}"/>'


def _curves(dots: Sequence[Dot], x: Axis, y: Axis, styles: dict[str, tuple[str, str]]) -> str:
    """Configurations of one method are joined, by cost."""
    lines = []
    for name, (kind, _) in styles.items():
        mine = sorted((d.cost, -d.mean) for d in dots if d.method == name)
        if len({c for c, _ in mine}) > 1:
            path = "L".join(f"{x.place(c):.1f} {y.place(-m):.1f}" for c, m in mine)
            lines.append(f'<path class="curve {kind}" data-method="{escape(name)}" d="M{path}"/>')
    return "\n".join(lines)


def _dot(d: Dot, x: Axis, y: Axis, styles: dict[str, tuple[str, str]], on: bool, root: str) -> str:
    kind, path = styles[d.method]
    a, b = x.place(d.cost), y.place(d.mean)
    bar = ""
    if not math.isnan(d.low):
        top, bottom = max(TOP, y.place(d.high)), min(HEIGHT - BOTTOM, y.place(d.low))
        bar = f'<path class="bar" d="M{a:.1f} {top:.1f}V{bottom:.1f}"/>'
    return (
        f'<a class="dot {kind}{"" if on else " under"}" href="{root}{escape(d.href)}"'
        f' data-method="{escape(d.method)}" aria-label="{escape(d.says)}">'
        f"<title>{escape(d.says)}</title>{bar}"
        f'<g transform="translate({a:.1f} {b:.1f})"><path d="{path}"/></g></a>'
    )


def _labels(named: Sequence[Dot], dots: Sequence[Dot], x: Axis, y: Axis) -> list[str]:
    """Names of the front, where they cover neither a mark nor each other; long ones are cut."""
    taken = [(x.place(d.cost) - 7, y.place(d.mean) - 7, 14.0, 14.0) for d in dots]
    lines = []
    for d in named:
        name = d.label if len(d.label) <= LONGEST else f"{d.label[: LONGEST - 1]}…"
        a, b, width = x.place(d.cost), y.place(d.mean), LETTER * len(name)
        beside = [(left, base) for left in (a + 10, a - 10 - width) for base in (b - 8, b + 18)]
        tries = [*beside, (a - width / 2, b - 14), (a - width / 2, b + 24)]
        for left, base in tries:
            box = (left, base - 11, width, 14.0)
            inside = (
                left > LEFT and left + width < WIDTH - 2 and TOP < base - 9 < HEIGHT - BOTTOM - 12
            )
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                lines.append(
                    f'<text class="label" data-method="{escape(d.method)}" x="{left:.1f}"'
                    f' y="{base:.1f}">{escape(name)}</text>'
                )
                break
    return lines


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
