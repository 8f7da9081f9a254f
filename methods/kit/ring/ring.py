"""A stack of matrices, one a layer, as one tensor ring: shared cores, and one slice a layer.

The matrices of L layers, each rows x cols, are one tensor

    D_l[i, j] = trace( S_l  P[:, i, :]  Q[:, j, :] )

with slices S (r0, L, r1), the only part that differs by layer, and shared cores P (r1, rows, r2)
and Q (r2, cols, r0). The rank of D_l is at most r2 min(r0, r1), that of the (L, rows * cols)
unfolding at most r0 r1. With ``rows`` or ``cols`` written as several factors, P and Q are chains
of small cores, which are merged once a step. AdaRing's abstract says that cores are shared and
slices belong to layers; modes and ranks are our reading.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from methods.kit.binding.wiring import Ref
from methods.kit.contract.adapter import Adapter
from methods.kit.ring.tensor_ring import CoreShape, merge

Chain = tuple[Ref, ...]  # matrices whose product is a layer's matrix
Cores = tuple[Tensor, Tensor, Tensor]  # S, P and Q of a ring with plain rows and cols


class CoreNames(NamedTuple):
    """The names under which slices, left and right cores are owned."""

    slices: str
    left: str
    right: str


@dataclass(frozen=True)
class Ring:
    """The sizes of one ring of matrices.

    ``rows`` and ``cols`` are factors whose products are the sizes of a matrix, ``slice_size`` is
    (r0, r1), and ``ring_ranks`` are the ranks between neighboring shared cores, from left to
    right: one for plain rows and cols.
    """

    layers: int
    rows: tuple[int, ...]
    cols: tuple[int, ...]
    slice_size: tuple[int, int]
    ring_ranks: tuple[int, ...]

    @property
    def shapes(self) -> tuple[CoreShape, ...]:
        """The shapes of slices, left cores and right cores."""
        ranks = (*self.slice_size, *self.ring_ranks)
        modes = (self.layers, *self.rows, *self.cols)
        return tuple(zip(ranks, modes, (*ranks[1:], ranks[0]), strict=True))

    @property
    def size(self) -> tuple[int, int]:
        """(rows, cols) of a layer's matrix."""
        return math.prod(self.rows), math.prod(self.cols)

    @property
    def inner(self) -> int:
        """R = r2 min(r0, r1), the width between the two factors of a layer's matrix."""
        return self.ring_ranks[len(self.rows) - 1] * min(self.slice_size)

    @property
    def factored(self) -> bool:
        """Whether x A_l B costs fewer multiplications a row than x D_l: R (m + n) < m n."""
        m, n = self.size
        return self.inner * (m + n) < m * n

    @property
    def slices_left(self) -> bool:
        """Whether slices are merged into the left core, for narrower factors or fewer entries."""
        (r0, r1), (m, n) = self.slice_size, self.size
        return r0 < r1 or (r0 == r1 and m <= n)

    # --- parameters ---------------------------------------------------------------------------

    def own(
        self,
        adapter: Adapter,
        names: CoreNames,
        fan_in: int,
        zero: slice | None = None,
        cores: Sequence[Tensor] | None = None,
    ) -> tuple[Ref, ...]:
        """Own new cores, or ``cores``. A core that is owned under its name already is shared.

        Entries of D get the variance 1 / (3 fan_in) of a default nn.Linear. The slices of the
        layers ``zero`` start at zero: their matrices are zero, while every core gets a gradient
        within two steps. (Never start two cores of a ring at zero.)
        """
        parts = [
            names.slices + ".slices",
            *_numbered(names.left + ".left", len(self.rows)),
            *_numbered(names.right + ".right", len(self.cols)),
        ]
        refs = []
        for k, (name, shape) in enumerate(zip(parts, self.shapes, strict=True)):
            if name in adapter.values():
                refs.append(Ref(name))
                continue
            if cores is not None:
                core = torch.empty(shape).copy_(cores[k])
            else:
                core = torch.randn(shape) * self._std(1 / (3 * fan_in))
                if k == 0 and zero is not None:
                    core[:, zero] = 0
            refs.append(adapter.own(name, nn.Parameter(core)))
        return tuple(refs)

    def _std(self, variance: float) -> float:
        """Return the standard deviation of i.i.d. core entries for a variance of entries of D.

        The trace sums prod(r_k) products of n entries: Var(D) = prod(r_k) std^(2 n).
        """
        ranks = math.prod((*self.slice_size, *self.ring_ranks))
        return float((variance / ranks) ** (1 / (2 * len(self.shapes))))

    # --- computed once a step -----------------------------------------------------------------

    def merged(self, shared: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the shared cores merged to P (r1, rows, r2) and Q (r2, cols, r0)."""
        return merge(shared[: len(self.rows)]), merge(shared[len(self.rows) :])

    def materialise(self, slices: Tensor, *shared: Tensor) -> Tensor:
        """Return every layer's matrix (L, rows, cols).

        Costs L m n R multiplications once a step, after L m r0 r1 r2 or L n r0 r1 r2 for the
        slices with P or Q; then m n a row and layer.
        """
        left, right = self.merged(shared)
        if self.slices_left:
            return torch.einsum("alic,cja->lij", torch.einsum("alb,bic->alic", slices, left), right)
        return torch.einsum("bic,cjlb->lij", left, torch.einsum("alb,cja->cjlb", slices, right))

    def factors(self, slices: Tensor, *shared: Tensor) -> tuple[Tensor, Tensor]:
        """Return (A, B) with D_l = A_l B_l and inner width R, all layers in one product.

        A is (L, rows, R) and B (R, cols), or A is (rows, R) and B (L, R, cols). Costs
        L m r0 r1 r2 or L n r0 r1 r2 multiplications once a step; then R (m + n) a row and layer,
        as a LoRA of rank R. For m = n = 768, r0 = r1 = r2 = 4, 12 layers: 0.6 million once,
        against 944 million for one frozen product of a layer over 1600 rows.
        """
        left, right = self.merged(shared)
        if self.slices_left:
            a = torch.einsum("alb,bic->lica", slices, left).flatten(2)
            return a, right.permute(0, 2, 1).flatten(0, 1)
        b = torch.einsum("alb,cja->lbcj", slices, right).flatten(1, 2)
        return left.permute(1, 0, 2).flatten(1), b

    def chains(
        self,
        adapter: Adapter,
        name: str,
        refs: tuple[Ref, ...],
        gate: Ref | None = None,
        always_factored: bool = False,
    ) -> list[Chain]:
        """Return the matrices whose product is D_l for each layer: two if ``factored``, else one.

        ``gate`` (L,) multiplies D_l; it is merged into the slices, at no cost.
        """
        if gate is not None:
            refs = (adapter.derive(f"{name}.gated", _gated, refs[0], gate), *refs[1:])
        if not (self.factored or always_factored):
            whole = adapter.derive(f"{name}.matrices", self.materialise, *refs)
            return [(whole[layer],) for layer in range(self.layers)]
        pair = adapter.derive(f"{name}.factors", self.factors, *refs)
        if self.slices_left:
            return [(pair[0][layer], pair[1]) for layer in range(self.layers)]
        return [(pair[0], pair[1][layer]) for layer in range(self.layers)]


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}.{i}" for i in range(count)]


def _gated(slices: Tensor, gate: Tensor) -> Tensor:
    return slices * gate[:, None]
