"""A comparison of two methods in one sentence."""

import math

from harness.spec.quantities import count_text, find_quantity
from reports.analyses.comparison import LEVEL, TARGET, Comparison
from reports.statistics.bootstrap import Difference

SCORE_NAMES = {
    "acc/hmean": "H",
    "acc/val_hmean": "H on validation images",
    "acc/mean": "mean accuracy",
}
LIMIT = 100  # seeds above which the number is not given
MANY_PAIRS = "it does not survive Holm's correction for all comparisons made"


def score_name(metric: str) -> str:
    """Return the name of an accuracy in sentences."""
    return SCORE_NAMES.get(metric) or find_quantity(metric).title


def comparison_sentence(c: Comparison) -> str:
    """Return who is ahead, by how much, how sure that is and on what data, and at what cost."""
    datasets, seeds = len(c.each), c.paired.seeds
    where = f"{_many(seeds, 'seed')}, {_many(datasets, 'data set')}, paired"
    if _shows(c.datasets, c.datasets_holm):
        text = f"{_ahead(c)} ({_bounds(c, c.datasets)}, {where})"
        return f"{text}, {_cost(c)}."
    if _shows(c.seeds, c.seeds_holm):
        text = f"{_ahead(c)} ({_bounds(c, c.seeds)}, {where}), {_cost(c)}"
        if datasets == 1:
            return f"{text}; other data sets were not tried."
        others = f"{_bounds(c, c.datasets)} over data sets"
        if c.datasets.p < LEVEL:
            return f"{text}; on other data sets likely too ({others}), but {MANY_PAIRS}."
        return f"{text}; whether this holds on other data sets is open ({others})."
    return _undecided(c, where)


def _undecided(c: Comparison, where: str) -> str:
    a, b = c.paired.a.title, c.paired.b.title
    known = c.seeds if not math.isnan(c.seeds.p) else c.datasets
    if math.isnan(known.p):
        return _images_alone(c)
    if c.value == 0 and known.error == 0:
        return f"{a} and {b} have the same {_points_of(c)} in all runs ({where})."
    text = f"{a} and {b} cannot be told apart: {_ordered(c)[0]} has {_size(c)}"
    text += f" more ({_bounds(c, known)}, {where}), {_cost(c)}"
    if known.p < LEVEL:
        text += f"; it would show alone, but {MANY_PAIRS}"
    elif not math.isnan(c.seeds_needed):
        text += f"; to see {TARGET:g} points on these data sets you need {_needed(c)}"
    return text + "."


def _needed(c: Comparison) -> str:
    seeds = int(c.seeds_needed)
    return f"about {_many(seeds, 'seed')}" if seeds <= LIMIT else f"more than {LIMIT} seeds"


def _images_alone(c: Comparison) -> str:
    """Return the sentence for one data set and one seed, where only the images say anything."""
    only, (first, second) = c.each[0], _ordered(c)
    text = f"With one seed on {only.dataset} {first} has {_size(c)} more than {second}, {_cost(c)}"
    if m := only.mcnemar:
        mine, other = (m.a, m.b) if c.value >= 0 else (m.b, m.a)
        text += f": of {m.images} images only it is right on {mine}, only the other on {other}"
        text += f" (McNemar p = {m.p:.2g})"
    return text + "; whether another seed would say the same cannot be told."


def _shows(difference: Difference, corrected: float) -> bool:
    return corrected < LEVEL and difference.value != 0


def _ordered(c: Comparison) -> tuple[str, str]:
    """Return the titles, the one with more accuracy first."""
    a, b = c.paired.a.title, c.paired.b.title
    return (a, b) if c.value >= 0 else (b, a)


def _ahead(c: Comparison) -> str:
    first, second = _ordered(c)
    return f"{first} is ahead of {second} by {_size(c)}"


def _bounds(c: Comparison, difference: Difference) -> str:
    """Return the interval as seen by the one with more accuracy."""
    low, high = difference.low, difference.high
    if c.value < 0:
        low, high = -high, -low
    return f"95 % {_points(low)} to {_points(high)}"


def _size(c: Comparison) -> str:
    return f"{_points(abs(c.value))} {_points_of(c)}"


def _points(value: float) -> str:
    """Write one decimal, or two where one would be 0.0."""
    return f"{value:.1f}" if abs(value) >= 0.05 else f"{value:.2f}"


def _points_of(c: Comparison) -> str:
    return f"points of {score_name(c.metric)}"


def _cost(c: Comparison) -> str:
    """Return how many parameters the one with more accuracy trains, relative to the other."""
    mine, other = c.trainable if c.value >= 0 else c.trainable[::-1]
    if math.isnan(mine) or math.isnan(other):
        return "with unknown numbers of parameters"
    if mine == other:
        return "with the same number of trainable parameters" if mine else "neither trains any"
    if mine == 0:
        return f"without training any of the other's {count_text(other)} parameters"
    if other == 0:
        return f"with {count_text(mine)} trainable parameters where the other has none"
    if 0.95 <= mine / other <= 1.05:
        return "with about as many trainable parameters"
    if mine < other:
        return f"with {_times(other / mine)} fewer trainable parameters"
    return f"with {_times(mine / other)} as many trainable parameters"


def _times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio >= 9.95 else f"{ratio:.2g} times"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
