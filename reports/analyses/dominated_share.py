"""How much of the plane a method's whole family of configurations dominates, with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.analyses.pareto import Axes, ParetoPoint, bootstrap_draws, coordinates
from reports.results.board import Board
from reports.statistics import dominance

MARGIN = 0.1  # of the range of each quantity: the reference is that much worse than the worst point


@dataclass(frozen=True)
class DominatedShare:
    """A method's configurations: the share of the box between the reference and the best values
    that they dominate, its 95 % interval over seeds (NaN where no configuration was repeated),
    and the chance that no other method's share is larger.

    The best of several noisy points is partly luck, so what they dominate is too much on average;
    draws around them add as much again. The interval is therefore the bootstrap's basic one, which
    reflects the draws at the share and lies lower.
    """

    method: str
    dataset: str
    points: int
    share: float
    low: float
    high: float
    chance: float
    reference: tuple[float, ...]
    ideal: tuple[float, ...]


def dominated_shares(
    board: Board, found: Sequence[ParetoPoint], asked: Axes
) -> list[DominatedShare]:
    """The families of the points of one picture, largest share first.

    Quantities that span decades count as log10(1 + value).
    """
    if not found:
        return []
    at = coordinates(found, asked)
    moved = bootstrap_draws(board, found, asked)
    scaled = _scaled(at, asked)
    best, worst = scaled.min(0), scaled.max(0)
    spread = np.where(worst > best, worst - best, 1.0)
    reference = worst + MARGIN * spread
    box = float(np.prod(reference - best))
    many = _scaled(at + moved.seeds, asked)
    names = sorted({p.method for p in found})
    mine = {name: [i for i, p in enumerate(found) if p.method == name] for name in names}
    shares = {n: float(dominance.hypervolume(scaled[r], reference)) / box for n, r in mine.items()}
    drawn = {
        n: 2 * shares[n] - dominance.hypervolume(many[:, rows], reference) / box
        for n, rows in mine.items()
    }
    top = np.max(list(drawn.values()), axis=0)
    families = []
    for name, rows in mine.items():
        known = bool(moved.known[rows].all())
        ends = np.maximum(np.quantile(drawn[name], [0.025, 0.975]), 0)  # the box may be too small
        low, high = ends if known else (math.nan, math.nan)
        chance = float((drawn[name] >= top - 1e-12).mean()) if known else math.nan
        families.append(
            DominatedShare(
                name, found[0].dataset, len(rows), shares[name], float(low), float(high), chance,
                _unscaled(reference, asked), _unscaled(best, asked),
            )
        )  # fmt: skip
    return sorted(families, key=lambda f: (-f.share, f.method))


def _scaled(at: np.ndarray, asked: Axes) -> np.ndarray:
    """Less is better, and decades count alike."""
    columns = [
        q.sign * (np.log10(1 + np.maximum(at[..., i], 0)) if q.log else at[..., i])
        for i, q in enumerate(asked.all)
    ]
    return np.stack(columns, axis=-1)


def _unscaled(point: np.ndarray, asked: Axes) -> tuple[float, ...]:
    return tuple(
        float(10 ** (q.sign * v) - 1 if q.log else q.sign * v)
        for v, q in zip(point, asked.all, strict=True)
    )
