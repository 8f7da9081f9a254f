"""The frame of a picture: where values lie, ticks, and the SVG around them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from harness.spec.quantities import count_text

WIDTH, HEIGHT = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 34, 48
STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Axis:
    """``place`` maps a value to user units; ``ticks`` are (position, text)."""

    place: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]
    label: str


def across(values: Sequence[float], label: str) -> Axis:
    """A horizontal axis from the least to the greatest value; steps and trials are whole."""
    low, high = min(values), max(values)
    whole = all(float(value).is_integer() for value in values)
    return _straight(low, high if high > low else low + 1, LEFT, WIDTH - RIGHT, label, whole)


def upwards(low: float, high: float, label: str) -> Axis:
    """A vertical axis."""
    return _straight(low, high, HEIGHT - BOTTOM, TOP, label)


def _straight(
    low: float, high: float, start: float, end: float, label: str, whole: bool = False
) -> Axis:
    def place(value: float) -> float:
        return start + (value - low) / (high - low) * (end - start)

    return Axis(place, [(place(v), f"{v:.10g}") for v in _round(low, high, whole)], label)


def _round(low: float, high: float, whole: bool, most: int = 6) -> list[float]:
    """Round values within a span."""
    rough = max((high - low) / most, 1.0 if whole else 0.0)
    unit = 10.0 ** math.floor(math.log10(rough))
    steps = (s * unit for s in STEPS if s * unit >= rough)
    step = next(s for s in steps if not whole or s.is_integer())
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def costs(values: Sequence[float], label: str) -> Axis:
    """A logarithmic axis; what costs nothing has a place of its own at the left."""
    paid = [v for v in values if v > 0]
    free = len(paid) < len(values)
    start = LEFT + (54 if free else 18)
    if not paid:
        return Axis(lambda _: LEFT + 26, [(LEFT + 26, "0")], label)
    low, high = math.log10(min(paid)), math.log10(max(paid))
    if high - low < 0.3:
        low, high = low - 0.15, high + 0.15

    def place(value: float) -> float:
        if value <= 0:
            return LEFT + 22
        return start + (math.log10(value) - low) / (high - low) * (WIDTH - RIGHT - 18 - start)

    ticks = [(place(v), _short(v)) for v in _decades(low, high)]
    return Axis(place, [(LEFT + 22, "0"), *ticks] if free else ticks, label)


def _decades(low: float, high: float) -> list[float]:
    """1, 10, 100 over long spans; 1, 2, 5, 10 over short ones; equal steps where both are few."""
    found: list[float] = []
    for digits in ((1,), (1, 3), (1, 2, 5)):
        found = [
            d * 10.0**e
            for e in range(math.floor(low), math.ceil(high) + 1)
            for d in digits
            if low - 1e-9 <= math.log10(d * 10.0**e) <= high + 1e-9
        ]
        if len(found) >= 3:
            return _apart(found)
    return _apart(_round(10**low, 10**high, whole=False))


def _apart(values: Sequence[float]) -> list[float]:
    """At most seven of them, and none too near another on a logarithmic axis."""
    every = math.ceil(len(values) / 7)
    kept: list[float] = []
    span = math.log10(values[-1] / values[0]) or 1 if values else 1
    for value in values[::every]:
        if not kept or math.log10(value / kept[-1]) > 0.09 * span:
            kept.append(value)
    return kept


def _short(value: float) -> str:
    return count_text(value) if value >= 10 else f"{value:.3g}"


def svg(x: Axis, y: Axis, body: str, name: str, about: str) -> str:
    """The whole picture. ``about`` says in words what is seen, for those who do not see it."""
    lines = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="group"'
        f' aria-labelledby="{name}-title"><title id="{name}-title">{escape(about)}</title>'
    ]
    bottom = HEIGHT - BOTTOM
    for at, text in y.ticks:
        lines.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        lines.append(f'<text class="tick end" x="{LEFT - 8}" y="{at + 4:.1f}">{text}</text>')
    for at, text in x.ticks:
        lines.append(f'<path class="grid" d="M{at:.1f} {TOP}V{bottom}"/>')
        lines.append(f'<text class="tick mid" x="{at:.1f}" y="{bottom + 18}">{text}</text>')
    lines.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}"/>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(f'<text class="name mid" x="{middle}" y="{HEIGHT - 8}">{escape(x.label)}</text>')
    lines.append(f'<text class="name" x="2" y="{TOP - 14}">{escape(y.label)}</text>')
    return "\n".join([*lines, body, "</svg>"])
