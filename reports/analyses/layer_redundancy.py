"""How much layers repeat each other: the spectrum across layers, and what a ring leaves out.

Stack a matrix of L layers as a tensor (L, m, n). The singular values of its (L, m n) unfolding say
how many independent matrices the layers really have; a tensor ring with slices (s, s) can hold at
most s^2 of them. Its approximation error against its size answers how far the layers can share.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from methods.kit.ring.decompose import decompose

SWEEPS, STARTS = 40, 2  # the random start wins where slices have more entries than there are layers


@dataclass(frozen=True)
class Spectrum:
    """Of the (L, m n) unfolding: each singular direction's share of the energy, largest first."""

    name: str
    shares: tuple[float, ...]

    @property
    def effective(self) -> float:
        """The effective number of independent layers: exp of the shares' entropy (Roy and
        Vetterli, 2007)."""
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
    """The spectrum of a stack (L, m, n)."""
    energy = torch.linalg.svdvals(stack.double().flatten(1)).square()
    return Spectrum(name, tuple((energy / energy.sum()).tolist()))


def fit_rings(
    name: str, stack: Tensor, slice_sizes: Sequence[int], ring_ranks: Sequence[int]
) -> list[RingFit]:
    """Rings of these sizes fitted to a stack; those that are no smaller than it are left out."""
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
    """The stack in orthonormal bases of its rows' and columns' spaces, which loses nothing.

    The best ring of given ranks lies in these spaces, so its error is the same; a stack of
    low-rank updates becomes much smaller.
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
    """The numbers of the picture, tidy: one table a file."""
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
    """For each matrix the rings that no smaller one fits as well, smallest first."""
    found: list[RingFit] = []
    for name in dict.fromkeys(f.name for f in rings):
        best = math.inf
        mine = (f for f in rings if f.name == name)
        for ring in sorted(mine, key=lambda f: (f.parameters, f.error)):
            if ring.error < best:
                best = ring.error
                found.append(ring)
    return found
