"""Charts as SVG, inline in pages: light, styled by the style sheet, every mark a link.

Figures for print are Matplotlib's; here one would take a tenth of a second and six times the bytes
for each of thousands of pages. Ticks and the tick format are shared with them.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from reports.figures.style import linear_ticks, log_ticks, tick_text
from reports.site import links
from reports.statistics.dominance import front_of_pairs

WIDTH, HEIGHT = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 56, WIDTH - 16, 34, HEIGHT - 48  # edges of the plane
ZERO = LEFT + 22  # where a cost of zero stands on a logarithmic axis
COLOURS = 8  # classes c0 to c7 of the style sheet
SHAPES = (
    "M-6 0A6 6 0 1 0 6 0A6 6 0 1 0 -6 0Z",
    "M-5 -5H5V5H-5Z",
    "M0 -7L6.5 5H-6.5Z",
    "M0 -7.5L7 0L0 7.5L-7 0Z",
    "M0 7L6.5 -5H-6.5Z",
    "M-2 -6.5H2V-2H6.5V2H2V6.5H-2V2H-6.5V-2H-2Z",
    "M-6.5 0L-2 -6.5H2L6.5 0L2 6.5H-2Z",
)
LETTER = 7.4  # user units: the most that a letter of a name takes, on average
LONGEST = 40  # letters of a name
Points = Sequence[tuple[float, float]]
Styles = dict[str, tuple[str, str]]  # series -> class, shape


@dataclass(frozen=True)
class Axis:
    """``place`` maps a value to user units; ``ticks`` are (position, text)."""

    place: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]
    label: str


@dataclass(frozen=True)
class Dot:
    """A mark. ``says`` describes it; ``href`` is a path from the site's root.

    ``chance`` is its probability of being on the front with other seeds.
    """

    series: str
    label: str
    cost: float
    mean: float
    says: str
    href: str
    low: float = math.nan
    high: float = math.nan
    chance: float = math.nan


# --- axes -----------------------------------------------------------------------------------------


def linear_axis(low: float, high: float, edges: tuple[float, float], label: str) -> Axis:
    """Return an axis from ``low`` to ``high``; whole numbers get whole ticks."""

    def place(value: float) -> float:
        return edges[0] + (value - low) / (high - low) * (edges[1] - edges[0])

    whole = float(low).is_integer() and float(high).is_integer()
    ticks = linear_ticks(low, high, whole)
    return Axis(place, [(place(t), f"{t:.10g}") for t in ticks], label)


def cost_axis(values: Sequence[float], label: str) -> Axis:
    """Return a logarithmic axis; a cost of zero has a place of its own at the left."""
    paid = [math.log10(v) for v in values if v > 0] or [0.0]
    free = [(float(ZERO), "0")] if any(v <= 0 for v in values) else []
    low, high = min(paid), max(paid)
    if high - low < 0.3:
        low, high = low - 0.15, high + 0.15
    start, end = LEFT + (54 if free else 18), RIGHT - 18

    def place(value: float) -> float:
        return (
            ZERO if value <= 0 else start + (math.log10(value) - low) / (high - low) * (end - start)
        )

    ticks = log_ticks(10**low, 10**high) if any(v > 0 for v in values) else []
    shown = [(place(t), tick_text(t)) for t in ticks[:: math.ceil(len(ticks) / 7) or 1]]
    return Axis(place, [*free, *shown], label)


def _svg(x: Axis, y: Axis, body: Iterable[str], name: str, about: str) -> Markup:
    """Return the picture; ``about`` describes it to those who do not see it."""
    lines = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="group"'
        f' aria-labelledby="{name}-title"><title id="{name}-title">{escape(about)}</title>'
    ]
    for at, text in y.ticks:
        lines.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{RIGHT}"/>')
        lines.append(f'<text class="tick end" x="{LEFT - 8}" y="{at + 4:.1f}">{text}</text>')
    for at, text in x.ticks:
        lines.append(f'<path class="grid" d="M{at:.1f} {TOP}V{BOTTOM}"/>')
        lines.append(f'<text class="tick mid" x="{at:.1f}" y="{BOTTOM + 18}">{text}</text>')
    middle = (LEFT + RIGHT) / 2
    lines += [
        f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>',
        f'<text class="name mid" x="{middle}" y="{HEIGHT - 8}">{escape(x.label)}</text>',
        f'<text class="name" x="2" y="{TOP - 14}">{escape(y.label)}</text>',
    ]
    return Markup("\n".join([*lines, *body, "</svg>"]))


# --- marks and legends ----------------------------------------------------------------------------


def styles(names: Iterable[str]) -> Styles:
    """Return a colour and a shape for each name, in alphabetical order; shapes move on after 8."""
    return {
        name: (f"c{i % COLOURS}", SHAPES[(i + i // COLOURS) % len(SHAPES)])
        for i, name in enumerate(sorted(set(names)))
    }


def _samples(names: Iterable[str]) -> dict[str, str]:
    return {
        name: f'<svg class="mark {kind}" viewBox="-9 -9 18 18" aria-hidden="true">'
        f'<path d="{path}"/></svg>{escape(name)}'
        for name, (kind, path) in styles(names).items()
    }


def legend(names: Iterable[str]) -> Markup:
    items = "".join(f"<li>{sample}</li>" for sample in _samples(names).values())
    return Markup(f'<ul class="legend">{items}</ul>')


def method_switches(names: Iterable[str], chart: str) -> Markup:
    """Return boxes that show and hide methods; without a script they are a plain legend."""
    items = "".join(
        f'<label><input type="checkbox" checked disabled data-chart="{escape(chart)}"'
        f' data-method="{escape(name)}">{sample}</label>'
        for name, sample in _samples(names).items()
    )
    return Markup(f'<fieldset class="legend"><legend>Methods shown</legend>{items}</fieldset>')


# --- lines ----------------------------------------------------------------------------------------


def line_chart(
    series: Mapping[str, Points], name: str, labels: tuple[str, str], steps: bool = False
) -> Markup | None:
    """Return a line for each series of two finite points or more; None where there is none.

    ``steps`` is for values that hold until the next one.
    """
    finite = {k: [(x, y) for x, y in points if math.isfinite(y)] for k, points in series.items()}
    shown = {k: points for k, points in finite.items() if len(points) > (0 if steps else 1)}
    if not shown:
        return None
    xs, ys = zip(*(point for points in shown.values() for point in points), strict=True)
    room = 0.06 * (max(ys) - min(ys)) or 0.5
    x = linear_axis(min(xs), max(max(xs), min(xs) + 1), (LEFT, RIGHT), labels[0])
    y = linear_axis(min(ys) - room, max(ys) + room, (BOTTOM, TOP), labels[1])
    kinds, body = styles(series), []
    for key, points in shown.items():
        placed = [(x.place(a), y.place(b)) for a, b in points]
        path = _path(placed, steps)
        title = f"<title>{escape(key)}</title>"
        body.append(f'<path class="line {kinds[key][0]}" d="{path}">{title}</path>')
    ends = ", ".join(f"{key} {points[-1][1]:.4g}" for key, points in shown.items())
    return _svg(x, y, body, name, f"{labels[1]} against {labels[0]}; at the end: {ends}")


def loss_chart(curves: Mapping[str, Points]) -> Markup | None:
    return line_chart(curves, "curve", ("step", "training loss"))


def _path(placed: Points, steps: bool) -> str:
    first, *others = placed
    drawn = (f"H{a:.1f}V{b:.1f}" if steps else f"L{a:.1f} {b:.1f}" for a, b in others)
    return f"M{first[0]:.1f} {first[1]:.1f}{''.join(drawn)}"


# --- accuracy against cost ------------------------------------------------------------------------


def on_front(dots: Sequence[Dot]) -> set[int]:
    """Return the indices of the dots on the front."""
    return front_of_pairs([(d.cost, d.mean) for d in dots])


def front_chart(
    dots: Sequence[Dot],
    name: str,
    labels: tuple[str, str],
    about: str,
    page: str,
    kinds: Styles | None = None,
) -> Markup:
    """Return dots over their cost with the front as a staircase; ``labels`` name cost and quality.

    Without ``kinds``, which style the series, a series is a method: its dots are joined, and names
    stand beside the dots of the front.
    """
    x = cost_axis([d.cost for d in dots], labels[0])
    y = linear_axis(*_span(dots), (BOTTOM, TOP), labels[1])
    on, methods = on_front(dots), styles(d.series for d in dots)
    front = sorted((x.place(dots[i].cost), y.place(dots[i].mean)) for i in on)
    order = sorted(range(len(dots)), key=lambda i: (i in on, dots[i].cost, dots[i].label))
    body = [f'<path class="front" d="{_path(front, steps=True)}H{RIGHT}"/>']
    body += [] if kinds else _method_curves(dots, x, y, methods)
    body += [_dot(dots[i], x, y, kinds or methods, i in on, page) for i in order]
    named = sorted((dots[i] for i in on), key=lambda d: -d.mean)
    body += [] if kinds else _names(named, dots, x, y)
    return _svg(x, y, body, name, about)


def _span(dots: Sequence[Dot]) -> tuple[float, float]:
    """Return the range of the means with room, and of intervals unless they are far wider."""
    means = [d.mean for d in dots]
    low, high = min(means), max(means)
    room = max(high - low, 1.0)
    ends = [e for d in dots for e in (d.low, d.high) if not math.isnan(e)]
    low = min([low - 0.12 * room, *(e for e in ends if e > low - 0.6 * room)])
    high = max([high + 0.12 * room, *(e for e in ends if e < high + 0.6 * room)])
    return low - 0.02 * room, high + 0.02 * room


def _method_curves(dots: Sequence[Dot], x: Axis, y: Axis, kinds: Styles) -> list[str]:
    """Join the configurations of each method by cost."""
    lines = []
    for name, (kind, _) in kinds.items():
        mine = sorted((d.cost, -d.mean) for d in dots if d.series == name)
        if len({cost for cost, _ in mine}) > 1:
            path = _path([(x.place(cost), y.place(-mean)) for cost, mean in mine], steps=False)
            lines.append(f'<path class="curve {kind}" data-method="{escape(name)}" d="{path}"/>')
    return lines


def _dot(d: Dot, x: Axis, y: Axis, kinds: Styles, on: bool, page: str) -> str:
    kind, path = kinds[d.series]
    a, b = x.place(d.cost), y.place(d.mean)
    bar = ""
    if not math.isnan(d.low):
        top, bottom = max(TOP, y.place(d.high)), min(BOTTOM, y.place(d.low))
        bar = f'<path class="bar" d="M{a:.1f} {top:.1f}V{bottom:.1f}"/>'
    says = escape(d.says)
    return (
        f'<a class="dot {kind}{"" if on else " under"}"'
        f' href="{escape(links.relative_link(page, d.href))}" aria-label="{says}"'
        f' data-method="{escape(d.series)}"><title>{says}</title>{bar}'
        f'<g transform="translate({a:.1f} {b:.1f})"><path d="{path}"/></g></a>'
    )


def _names(named: Sequence[Dot], dots: Sequence[Dot], x: Axis, y: Axis) -> list[str]:
    """Write names where they cover neither a dot nor each other; cut long ones."""
    taken = [(x.place(d.cost) - 7, y.place(d.mean) - 7, 14.0, 14.0) for d in dots]
    lines = []
    for d in named:
        name = d.label if len(d.label) <= LONGEST else f"{d.label[: LONGEST - 1]}…"
        a, b, width = x.place(d.cost), y.place(d.mean), LETTER * len(name)
        places = [(left, base) for left in (a + 10, a - 10 - width) for base in (b - 8, b + 18)]
        for left, base in [*places, (a - width / 2, b - 14), (a - width / 2, b + 24)]:
            box = (left, base - 11, width, 14.0)
            inside = left > LEFT and left + width < WIDTH - 2 and TOP < base - 9 < BOTTOM - 12
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                at = f'x="{left:.1f}" y="{base:.1f}"'
                method = escape(d.series)
                lines.append(
                    f'<text class="label" data-method="{method}" {at}>{escape(name)}</text>'
                )
                break
    return lines


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
