"""Pareto fronts and hypervolumes over two or three quantities.

Less is better in every column. Every function takes many draws at once.
"""

from collections.abc import Sequence

import numpy as np


def on_front(values: np.ndarray) -> np.ndarray:
    """Return which points no other dominates: (..., point, quantity) to (..., point).

    A point is dominated by one that is as good in every quantity and better in one. Equal points do
    not dominate each other.
    """
    if values.shape[-1] == 2 and values.shape[-2]:
        return _on_front_of_two(values)
    front = np.empty(values.shape[:-1], dtype=bool)
    columns = np.ascontiguousarray(np.moveaxis(values, -1, 0))  # (quantity, ..., point)
    for i in range(values.shape[-2]):
        no_worse = np.ones(values.shape[:-1], dtype=bool)
        better = np.zeros(values.shape[:-1], dtype=bool)
        for column in columns:
            one = column[..., i : i + 1]
            no_worse &= column <= one
            better |= column < one
        front[..., i] = ~(no_worse & better).any(-1)
    return front


def _on_front_of_two(values: np.ndarray) -> np.ndarray:
    """Return the front by sorting.

    A point is dominated by an earlier one with less of the second quantity, or with as much of it
    for less of the first.
    """
    order = np.lexsort((values[..., 1], values[..., 0]), axis=-1)
    x = np.take_along_axis(values[..., 0], order, axis=-1)
    y = np.take_along_axis(values[..., 1], order, axis=-1)
    least = np.minimum.accumulate(y, axis=-1)[..., :-1]
    new = np.concatenate([np.ones((*y.shape[:-1], 1), bool), y[..., 1:] < least], axis=-1)
    first = np.maximum.accumulate(np.where(new, np.arange(y.shape[-1]), 0), axis=-1)[..., :-1]
    same = (y[..., 1:] == least) & (x[..., 1:] == np.take_along_axis(x, first, axis=-1))
    new[..., 1:] |= same
    front = np.empty_like(new)
    np.put_along_axis(front, order, new, axis=-1)
    return front


def hypervolume(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the area or volume between points and a worse reference: (..., point, quantity) to
    (...). A point that is worse than the reference adds nothing.
    """
    inside = np.minimum(values, reference)
    if values.shape[-1] == 2:
        return _area(inside, reference)
    order = np.argsort(inside[..., 2], axis=-1, kind="stable")
    ranked = np.take_along_axis(inside, order[..., None], axis=-2)
    total = np.zeros(values.shape[:-2])
    for k in range(ranked.shape[-2]):  # slabs of the third quantity, from the best to the reference
        last = k + 1 == ranked.shape[-2]
        above = reference[2] if last else ranked[..., k + 1, 2]
        total += (above - ranked[..., k, 2]) * _area(ranked[..., : k + 1, :2], reference[:2])
    return total


def _area(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    order = np.argsort(values[..., 0], axis=-1, kind="stable")
    x = np.take_along_axis(values[..., 0], order, axis=-1)
    y = np.minimum.accumulate(np.take_along_axis(values[..., 1], order, axis=-1), axis=-1)
    edge = np.broadcast_to(reference[0], (*x.shape[:-1], 1))
    areas: np.ndarray = (np.diff(x, axis=-1, append=edge) * (reference[1] - y)).sum(-1)
    return areas


def front_of_pairs(pairs: Sequence[tuple[float, float]]) -> set[int]:
    """Return the indices of the (cost, quality) pairs on the front of less cost, more quality."""
    values = np.array(pairs, dtype=float).reshape(-1, 2) * (1, -1)
    return set(np.flatnonzero(on_front(values)).tolist())
