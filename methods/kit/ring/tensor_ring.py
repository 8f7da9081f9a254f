"""Cores of a tensor ring: merging neighbors in the cheapest order, and widths as small factors.

    X[i1, ..., in] = trace( G1[:, i1, :] G2[:, i2, :] ... Gn[:, in, :] )

Core k is (r_k, n_k, r_k+1), and the last rank equals the first (Zhao et al., 2016, arXiv
1606.05535).
"""

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

CoreShape = tuple[int, int, int]
LARGEST_MODE = 12


def merge(cores: Sequence[Tensor]) -> Tensor:
    """Return neighboring cores as one core (r_first, product of modes, r_last).

    Joining (a, m, b) with (b, n, c) takes a m b n c multiplications.
    """
    if len(cores) == 1:
        return cores[0]
    at = merge_cost(tuple((c.shape[0], c.shape[1], c.shape[2]) for c in cores))[1]
    return torch.einsum("aib,bjc->aijc", merge(cores[:at]), merge(cores[at:])).flatten(1, 2)


@cache
def merge_cost(shapes: tuple[CoreShape, ...]) -> tuple[int, int]:
    """Return (multiplications, where to split first) of the cheapest order to merge cores."""
    if len(shapes) == 1:
        return 0, 0
    last = shapes[0][0] * math.prod(n for _, n, _ in shapes) * shapes[-1][2]
    options = [
        (merge_cost(shapes[:k])[0] + merge_cost(shapes[k:])[0] + last * shapes[k][0], k)
        for k in range(1, len(shapes))
    ]
    return min(options)


def modes_of(width: int) -> tuple[int, ...]:
    """Return a width as small factors: 768 = 8 8 12, 512 = 8 8 8, 160 = 4 5 8, 32 = 4 8.

    The fewest factors of which none is above 12 (or above the largest prime in the width, if that
    is more), of these the ones of smallest sum, in ascending order.
    """
    largest = max(LARGEST_MODE, _largest_prime(width))
    count = 1
    while True:
        found = [f for f in _factorisations(width, count, 1) if f[-1] <= largest]
        if found:
            return min(found, key=lambda f: (sum(f), f))
        count += 1


def _factorisations(n: int, count: int, least: int) -> list[tuple[int, ...]]:
    """Return all ways to write n as ``count`` ascending factors, none below ``least``."""
    if count == 1:
        return [(n,)] if n >= least else []
    return [
        (first, *rest)
        for first in range(max(least, 2), math.isqrt(n) + 1)
        if n % first == 0
        for rest in _factorisations(n // first, count - 1, first)
    ]


def _largest_prime(n: int) -> int:
    largest, factor = 1, 2
    while n > 1:
        while n % factor == 0:
            largest, n = factor, n // factor
        factor += 1
    return largest
