"""Redundancy across layers: the spectrum of stacked matrices and the error of fitted rings.

The matrices of L layers form a tensor (L, m, n). The singular values of its (L, m n) unfolding give
the number of independent matrices; a tensor ring with slices (s, s) can represent at most s^2 of
them. Its approximation error against its size says how far the layers can share parameters.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from methods.kit.ring.decompose import decompose
from reports.statistics.dominance import front_of_pairs

SWEEPS, STARTS = 40, 2  # a random start is better where slices have more entries than layers


@dataclass(frozen=True)
class Spectrum:
    """Each singular direction's share of the energy of the (L, m n) unfolding, largest first."""

    name: str
    shares: tuple[float, ...]

    @property
    def effective(self) -> float:
        """The effective number of layers: exp of the shares' entropy (Roy and Vetterli, 2007)."""
        return math.exp(-sum(p * math.log(p) for p in self.shares if p > 0))


@dataclass(frozen=True)
class RingFit:
    """A ring fitted to a stack. ``error`` is ||X - ring|| / ||X||, ``share`` its size over X's."""

    name: str
    slice_size: int
    ring_rank: int
    parameters: int
    share: float
    error: float


def layer_spectrum(name: str, stack: Tensor) -> Spectrum:
    """Return the spectrum of a stack (L, m, n)."""
    energy = torch.linalg.svdvals(stack.double().flatten(1)).square()
    return Spectrum(name, tuple((energy / energy.sum()).tolist()))


def fit_rings(
    name: str, stack: Tensor, slice_sizes: Sequence[int], ring_ranks: Sequence[int]
) -> list[RingFit]:
    """Fit rings of these sizes to a stack; sizes no smaller than the stack are left out."""
    small = compress_stack(stack)
    found = []
    for size in slice_sizes:
        for rank in ring_ranks:
            layers, rows, cols = stack.shape
            count = layers * size * size + (rows + cols) * size * rank
            if count < stack.numel():
                error = decompose(small, (size, size), rank, SWEEPS, STARTS).error
                share = count / stack.numel()
                found.append(RingFit(name, size, rank, count, share, error))
    return found


def compress_stack(stack: Tensor) -> Tensor:
    """Return the stack in orthonormal bases of its row and column spaces; nothing is lost.

    The best ring of given ranks lies in these spaces, so its error is the same. A stack of low-rank
    updates becomes much smaller.
    """
    stack = stack.double()
    for dim in (1, 2):
        flat = stack.movedim(dim, 0).flatten(1)
        basis, size, _ = torch.linalg.svd(flat, full_matrices=False)
        basis = basis[:, size > 1e-12 * size[0]]
        stack = torch.tensordot(stack, basis, dims=([dim], [0])).movedim(-1, dim)
    return stack


def redundancy_tables(
    spectra: Sequence[Spectrum], rings: Sequence[RingFit]
) -> Mapping[str, pd.DataFrame]:
    """Return the numbers of the figure, a tidy table per file."""
    rows = [
        {"matrix": s.name, "direction": i + 1, "share": p, "effective_layers": s.effective}
        for s in spectra
        for i, p in enumerate(s.shares)
    ]
    return {
        "redundancy-spectrum": pd.DataFrame(rows),
        "redundancy-rings": pd.DataFrame([vars(f) for f in rings]),
    }


def rings_on_front(rings: Sequence[RingFit]) -> list[RingFit]:
    """Return for each matrix the rings that no smaller one fits as well, smallest first."""
    front: list[RingFit] = []
    for name in dict.fromkeys(f.name for f in rings):
        own = sorted((f for f in rings if f.name == name), key=lambda f: (f.parameters, f.error))
        on = front_of_pairs([(f.parameters, -f.error) for f in own])
        front += [ring for i, ring in enumerate(own) if i in on]
    return front
