"""Tensor rings of any order: a tensor as small cores in a circle, closed by a trace.

    X[i1, ..., in] = trace( G1[:, i1, :] G2[:, i2, :] ... Gn[:, in, :] )

Core k is (r_k, n_k, r_k+1), and the last rank is the first again (Zhao et al., 2016, arXiv
1606.05535). Everything is contracted in the order that takes the fewest multiplications, found
from the shapes alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

CoreShape = tuple[int, int, int]


@dataclass(frozen=True)
class TensorRing:
    """``modes`` are the sizes n_k; ``ranks[k]`` stands to the left of core k."""

    modes: tuple[int, ...]
    ranks: tuple[int, ...]

    @property
    def shapes(self) -> tuple[CoreShape, ...]:
        right = (*self.ranks[1:], self.ranks[0])
        return tuple(zip(self.ranks, self.modes, right, strict=True))

    @property
    def parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes)

    def sigma(self, variance: float) -> float:
        """The deviation of i.i.d. core entries that gives entries of X this variance.

        The trace sums prod(r_k) products of n entries: Var(X) = prod(r_k) sigma^(2 n).
        """
        return float((variance / math.prod(self.ranks)) ** (1 / (2 * len(self.modes))))

    @property
    def bonds(self) -> tuple[int, int]:
        """The two bonds at which the circle is cut into two chains for the last product."""
        count = len(self.modes)
        pairs = [(p, q) for p in range(count) for q in range(p + 1, count)]
        return min(pairs, key=self._multiplications)

    def materialise(self, *cores: Tensor) -> Tensor:
        """X, of shape ``modes``: two chains merged, then N r_p r_q multiplications for the trace.

        N is the number of entries of X and r_p, r_q the ranks of the bonds that are cut.
        """
        if len(cores) == 1:
            return torch.einsum("aia->i", cores[0])
        p, q = self.bonds
        order = (*range(p, q), *range(q, len(cores)), *range(p))
        one, two = merge(cores[p:q]), merge((*cores[q:], *cores[:p]))
        whole = torch.einsum("aib,bja->ij", one, two)
        shifted = whole.reshape([self.modes[k] for k in order])
        return shifted.permute([order.index(k) for k in range(len(cores))])

    def _multiplications(self, pair: tuple[int, int]) -> int:
        (p, q), shapes = pair, self.shapes
        merging = chain(shapes[p:q])[0] + chain((*shapes[q:], *shapes[:p]))[0]
        return merging + math.prod(self.modes) * self.ranks[p] * self.ranks[q]


def merge(cores: Sequence[Tensor]) -> Tensor:
    """Neighbouring cores as one core (r_first, product of modes, r_last).

    Joining (a, m, b) with (b, n, c) takes a m b n c multiplications.
    """
    if len(cores) == 1:
        return cores[0]
    at = chain(tuple((c.shape[0], c.shape[1], c.shape[2]) for c in cores))[1]
    return torch.einsum("aib,bjc->aijc", merge(cores[:at]), merge(cores[at:])).flatten(1, 2)


@cache
def chain(shapes: tuple[CoreShape, ...]) -> tuple[int, int]:
    """(multiplications, where to split) for merging cores of these shapes in the cheapest order."""
    if len(shapes) == 1:
        return 0, 0
    last = shapes[0][0] * math.prod(n for _, n, _ in shapes) * shapes[-1][2]
    options = [
        (chain(shapes[:k])[0] + chain(shapes[k:])[0] + last * shapes[k][0], k)
        for k in range(1, len(shapes))
    ]
    return min(options)


LARGEST_MODE = 12


def modes_of(width: int) -> tuple[int, ...]:
    """A width as small factors: 768 = 8 8 12, 512 = 8 8 8, 160 = 4 5 8, 32 = 4 8.

    The fewest factors of which none is above 12 (or above the largest prime in the width, where
    that is more), of these the ones of smallest sum, in ascending order.
    """
    largest = max(LARGEST_MODE, _largest_prime(width))
    count = 1
    while True:
        found = [f for f in _factorisations(width, count, 1) if f[-1] <= largest]
        if found:
            return min(found, key=lambda f: (sum(f), f))
        count += 1


def _factorisations(n: int, count: int, least: int) -> list[tuple[int, ...]]:
    """All ways to write n as ``count`` factors in ascending order, none below ``least``."""
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
