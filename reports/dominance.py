"""Which points nothing else beats on two or three quantities, and how much of the plane or space
they dominate. Less is better in every column; every function takes many draws at once."""

import numpy as np


def on_front(values: np.ndarray) -> np.ndarray:
    """(..., point, quantity) to (..., point): no other point is as good everywhere and better
    somewhere. Equal points do not beat each other."""
    found = np.empty(values.shape[:-1], dtype=bool)
    for i in range(values.shape[-2]):
        one = values[..., i : i + 1, :]
        no_worse, better = (values <= one).all(-1), (values < one).any(-1)
        found[..., i] = ~(no_worse & better).any(-1)
    return found


def volume(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
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
