"""Which points nothing else beats on two or three quantities, and how much of the plane or space
they dominate. Less is better in every column; every function takes many draws at once."""

import math
from collections.abc import Sequence

import numpy as np


def on_front(values: np.ndarray) -> np.ndarray:
    """(..., point, quantity) to (..., point): no other point is as good everywhere and better
    somewhere. Equal points do not beat each other."""
    if values.shape[-1] == 2 and values.shape[-2]:
        return _on_front_of_two(values)
    found = np.empty(values.shape[:-1], dtype=bool)
    columns = np.ascontiguousarray(np.moveaxis(values, -1, 0))  # (quantity, ..., point)
    for i in range(values.shape[-2]):
        no_worse = np.ones(values.shape[:-1], dtype=bool)
        better = np.zeros(values.shape[:-1], dtype=bool)
        for column in columns:
            one = column[..., i : i + 1]
            no_worse &= column <= one
            better |= column < one
        found[..., i] = ~(no_worse & better).any(-1)
    return found


def _on_front_of_two(values: np.ndarray) -> np.ndarray:
    """By sorting: a point is beaten by one before it that has less in the second quantity, or as
    much of it for less of the first."""
    order = np.lexsort((values[..., 1], values[..., 0]), axis=-1)
    x = np.take_along_axis(values[..., 0], order, axis=-1)
    y = np.take_along_axis(values[..., 1], order, axis=-1)
    least = np.minimum.accumulate(y, axis=-1)[..., :-1]
    new = np.concatenate([np.ones((*y.shape[:-1], 1), bool), y[..., 1:] < least], axis=-1)
    first = np.maximum.accumulate(np.where(new, np.arange(y.shape[-1]), 0), axis=-1)[..., :-1]
    same = (y[..., 1:] == least) & (x[..., 1:] == np.take_along_axis(x, first, axis=-1))
    kept = new
    kept[..., 1:] |= same
    found = np.empty_like(kept)
    np.put_along_axis(found, order, kept, axis=-1)
    return found


def hypervolume(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(..., point, quantity) to (...): the area, or volume, between the points and a reference
    that is worse than them; a point that is worse than the reference adds nothing."""
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
    found: np.ndarray = (np.diff(x, axis=-1, append=edge) * (reference[1] - y)).sum(-1)
    return found


def front_of_pairs(pairs: Sequence[tuple[float, float]]) -> set[int]:
    """Indices of the pairs (cost, quality) that no other beats: cheaper-or-equal and
    better-or-equal, one of them strictly."""
    kept: set[int] = set()
    best = -math.inf
    order = sorted(range(len(pairs)), key=lambda i: (pairs[i][0], -pairs[i][1]))
    for i in order:
        cost, quality = pairs[i]
        twin = any(pairs[j] == (cost, quality) for j in kept)
        if quality > best or twin:
            kept.add(i)
            best = max(best, quality)
    return kept
