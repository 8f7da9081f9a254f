"""The share of the plane that each method's configurations dominate, with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.analyses.pareto import Axes, ParetoPoint, bootstrap_draws, coordinates
from reports.results.board import Board
from reports.statistics import dominance

MARGIN = 0.1  # the reference is worse than the worst point by this share of each range


@dataclass(frozen=True)
class DominatedShare:
    """The share of the box between reference and best values that a method's points dominate.

    ``low`` and ``high`` are its 95 % interval over seeds (NaN without repeats), ``chance`` the
    probability that no other method's share is larger.

    The best of several noisy points is partly luck, so the share is too large on average, and draws
    around it add as much again. The interval is therefore the bootstrap's basic one: it reflects
    the draws at the share and lies lower.
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
    board: Board, points: Sequence[ParetoPoint], axes: Axes
) -> list[DominatedShare]:
    """Return the shares of all methods of one panel, the largest first.

    Quantities on a logarithmic axis count as log10(1 + value).
    """
    if not points:
        return []
    at, draws = coordinates(points, axes), bootstrap_draws(board, points, axes)
    scaled = _scaled(at, axes)
    best, worst = scaled.min(0), scaled.max(0)
    reference = worst + MARGIN * np.where(worst > best, worst - best, 1.0)
    box = float(np.prod(reference - best))
    drawn_at = _scaled(at + draws.seeds, axes)
    rows = {
        name: [i for i, p in enumerate(points) if p.method == name]
        for name in sorted({p.method for p in points})
    }
    shares = {n: float(dominance.hypervolume(scaled[r], reference)) / box for n, r in rows.items()}
    drawn = {
        n: 2 * shares[n] - dominance.hypervolume(drawn_at[:, r], reference) / box
        for n, r in rows.items()
    }
    top = np.max(list(drawn.values()), axis=0)
    measured = []
    for name in rows:
        low, high, chance = math.nan, math.nan, math.nan
        if draws.known[rows[name]].all():
            low, high = np.maximum(np.quantile(drawn[name], [0.025, 0.975]), 0)  # box too small
            chance = float((drawn[name] >= top - 1e-12).mean())
        measured.append(
            DominatedShare(
                name, points[0].dataset, len(rows[name]), shares[name], float(low), float(high),
                chance, _unscaled(reference, axes), _unscaled(best, axes),
            )
        )  # fmt: skip
    return sorted(measured, key=lambda m: (-m.share, m.method))


def _scaled(at: np.ndarray, axes: Axes) -> np.ndarray:
    """Make less better, and decades equal on logarithmic axes."""
    columns = [
        q.sign * (np.log10(1 + np.maximum(at[..., i], 0)) if q.log else at[..., i])
        for i, q in enumerate(axes.all)
    ]
    return np.stack(columns, axis=-1)


def _unscaled(point: np.ndarray, axes: Axes) -> tuple[float, ...]:
    return tuple(
        float(10 ** (q.sign * v) - 1 if q.log else q.sign * v)
        for v, q in zip(point, axes.all, strict=True)
    )
