"""One honest sentence about two methods."""

import math

from harness.spec.quantities import count_text
from reports.analyses.comparison import HINT, LEVEL, Comparison
from reports.statistics.bootstrap import Difference

OF = {
    "acc/hmean": "points of H",
    "acc/test": "points of accuracy",
    "acc/base": "points of base accuracy",
    "acc/novel": "points of novel accuracy",
    "acc/val": "points of validation accuracy",
    "acc/val_novel": "points of novel validation accuracy",
    "acc/val_hmean": "points of H on validation images",
}
LIMIT = 100  # a number of seeds beyond which it does not matter how many
MANY_PAIRS = "it does not survive Holm's correction for all comparisons made"


def comparison_sentence(found: Comparison) -> str:
    """Who is ahead, by how much, how sure that is and of what, and what it costs."""
    datasets, seeds = len(found.each), found.paired.seeds
    where = f"{_many(seeds, 'seed')}, {_many(datasets, 'data set')}, paired"
    if _shows(found.datasets, found.datasets_holm):
        text = f"{_ahead(found)} ({_bounds(found, found.datasets)}, {where})"
        return f"{text}, {_cost(found)}."
    if _shows(found.seeds, found.seeds_holm):
        text = f"{_ahead(found)} ({_bounds(found, found.seeds)}, {where}), {_cost(found)}"
        if datasets == 1:
            return f"{text}; other data sets were not tried."
        others = f"{_bounds(found, found.datasets)} over data sets"
        if found.datasets.p < LEVEL:
            return f"{text}; on other data sets likely too ({others}), but {MANY_PAIRS}."
        return f"{text}; whether this holds on other data sets is open ({others})."
    return _undecided(found, where)


def _undecided(found: Comparison, where: str) -> str:
    a, b = found.paired.a.title, found.paired.b.title
    known = found.seeds if not math.isnan(found.seeds.p) else found.datasets
    if math.isnan(known.p):
        return _images_alone(found)
    if found.value == 0 and known.error == 0:
        return f"{a} and {b} have the same {_of(found)} in all runs ({where})."
    first = found.value >= 0
    text = f"{a} and {b} cannot be told apart: {a if first else b} has {_size(found)} {_of(found)}"
    text += f" more ({_bounds(found, known)}, {where}), {_cost(found)}"
    if known.p < LEVEL:
        text += f"; it would show alone, but {MANY_PAIRS}"
    elif not math.isnan(found.seeds_needed):
        text += f"; to see {HINT:g} points on these data sets you need {_needed(found)}"
    return text + "."


def _needed(found: Comparison) -> str:
    seeds = int(found.seeds_needed)
    return f"about {_many(seeds, 'seed')}" if seeds <= LIMIT else f"more than {LIMIT} seeds"


def _images_alone(found: Comparison) -> str:
    """One data set and one seed: all that is known is what the images say."""
    only = found.each[0]
    a, b = found.paired.a.title, found.paired.b.title
    first = found.value >= 0
    text = f"With one seed on {only.dataset} {a if first else b} has {_size(found)} {_of(found)}"
    text += f" more than {b if first else a}, {_cost(found)}"
    if only.mcnemar:
        m = only.mcnemar
        mine, other = (m.a, m.b) if first else (m.b, m.a)
        text += f": of {m.images} images only it is right on {mine}, only the other on {other}"
        text += f" (McNemar p = {only.mcnemar.p:.2g})"
    return text + "; whether another seed would say the same cannot be told."


def _shows(difference: Difference, corrected: float) -> bool:
    return corrected < LEVEL and difference.value != 0


def _ahead(found: Comparison) -> str:
    a, b = found.paired.a.title, found.paired.b.title
    first, second = (a, b) if found.value > 0 else (b, a)
    return f"{first} is ahead of {second} by {_size(found)} {_of(found)}"


def _bounds(found: Comparison, difference: Difference) -> str:
    """The interval seen from whoever has more."""
    low, high = difference.low, difference.high
    if found.value < 0:
        low, high = -high, -low
    return f"95 % {_points(low)} to {_points(high)}"


def _size(found: Comparison) -> str:
    return _points(abs(found.value))


def _points(value: float) -> str:
    """One decimal, two where one would say 0.0."""
    return f"{value:.1f}" if abs(value) >= 0.05 else f"{value:.2f}"


def _of(found: Comparison) -> str:
    return OF.get(found.metric, f"points of {found.metric}")


def _cost(found: Comparison) -> str:
    """Parameters of whoever has more accuracy against the other's."""
    mine, other = found.trainable if found.value >= 0 else found.trainable[::-1]
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
