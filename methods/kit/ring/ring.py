"""A stack of matrices, one a layer, as one tensor ring: shared cores, one slice a layer.

The matrices of L layers, each rows x cols, are one tensor

    D_l[i, j] = trace( S_l  P[:, i, :]  Q[:, j, :] )

with slices S (r0, L, r1), the only part that differs by layer, and shared cores P (r1, rows, r2)
and Q (r2, cols, r0). Rank of D_l <= r2 min(r0, r1); rank of the (L, rows * cols) unfolding
<= r0 r1. With ``rows`` or ``cols`` written as several factors, P and Q are themselves chains of
small cores; they are merged once a step, and then the ring is of order 3 again. That cores are
shared and slices belong to layers is what AdaRing's abstract says; modes and ranks are our reading.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from methods.kit.binding.wiring import Ref
from methods.kit.contract.adapter import Adapter
from methods.kit.ring.tensor_ring import TensorRing, merge

Chain = tuple[Ref, ...]  # matrices that multiply to a layer's matrix


class Homes(NamedTuple):
    """The names under which slices, left and right cores are owned."""

    slices: str
    left: str
    right: str


@dataclass(frozen=True)
class Ring:
    """The sizes of one ring of matrices.

    ``rows`` and ``cols`` are factors whose products are the sizes of a matrix, ``slice_size`` is
    (r0, r1), and ``ring_ranks`` are the ranks between neighbouring shared cores, from left to
    right: one for plain rows and cols.
    """

    layers: int
    rows: tuple[int, ...]
    cols: tuple[int, ...]
    slice_size: tuple[int, int]
    ring_ranks: tuple[int, ...]

    @property
    def tensor(self) -> TensorRing:
        return TensorRing(
            (self.layers, *self.rows, *self.cols), (*self.slice_size, *self.ring_ranks)
        )

    @property
    def parameters(self) -> int:
        """L r0 r1 + the shared cores; r^2 (L + all factors of rows and cols) for equal ranks."""
        return self.tensor.parameters

    @property
    def size(self) -> tuple[int, int]:
        """(rows, cols) of a layer's matrix."""
        return math.prod(self.rows), math.prod(self.cols)

    @property
    def middle(self) -> int:
        """r2, the rank of the bond between rows and columns."""
        return self.ring_ranks[len(self.rows) - 1]

    @property
    def inner(self) -> int:
        """R, the width between the two factors of a layer's matrix, an upper bound of its rank."""
        return self.middle * min(self.slice_size)

    @property
    def factored(self) -> bool:
        """Whether x A_l B costs fewer multiplications a row than x D_l: R (m + n) < m n."""
        m, n = self.size
        return self.inner * (m + n) < m * n

    @property
    def slices_left(self) -> bool:
        """Whether the slices go into the left core: the side that leaves the narrower factors;
        where both do, the side with fewer entries."""
        (r0, r1), (m, n) = self.slice_size, self.size
        return r0 < r1 or (r0 == r1 and m <= n)

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """(group, name) of each core: slices, then the left cores, then the right ones."""
        return (("slices", "slices"), *_named("left", self.rows), *_named("right", self.cols))

    # --- what trains --------------------------------------------------------------------------

    def own(
        self,
        adapter: Adapter,
        homes: Homes,
        fan_in: int,
        zero: slice | None = None,
        cores: Sequence[Tensor] | None = None,
    ) -> tuple[Ref, ...]:
        """Own new cores, or these; one that stands under its name already is shared.

        Entries of D get the variance 1 / (3 fan_in) of a default nn.Linear. The slices of the
        layers ``zero`` start at zero: their matrices are zero while every core still gets a
        gradient within two steps (never zero two cores of a ring).
        """
        sigma = self.tensor.sigma(1 / (3 * fan_in))
        refs = []
        for k, ((group, part), shape) in enumerate(
            zip(self.parts, self.tensor.shapes, strict=True)
        ):
            name = f"{getattr(homes, group)}.{part}"
            if name in adapter.values():
                refs.append(Ref(name))
                continue
            if cores is not None:
                core = torch.empty(shape).copy_(cores[k])
            else:
                core = torch.randn(shape) * sigma
                if group == "slices" and zero is not None:
                    core[:, zero] = 0
            refs.append(adapter.own(name, nn.Parameter(core)))
        return tuple(refs)

    # --- what is computed once a step ---------------------------------------------------------

    def ends(self, shared: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The shared cores as P (r1, rows, r2) and Q (r2, cols, r0), merged where they are many."""
        return merge(shared[: len(self.rows)]), merge(shared[len(self.rows) :])

    def materialise(self, slices: Tensor, *shared: Tensor) -> Tensor:
        """Every layer's matrix: (L, rows, cols). Both ends of r0 are contracted: it is a trace.

        Costs L m n R multiplications, and before that L m r0 r1 r2 or L n r0 r1 r2 for the
        slices with P or Q, once a step; then m n a row and layer.
        """
        left, right = self.ends(shared)
        if self.slices_left:
            return torch.einsum("alic,cja->lij", torch.einsum("alb,bic->alic", slices, left), right)
        return torch.einsum("bic,cjlb->lij", left, torch.einsum("alb,cja->cjlb", slices, right))

    def factors(self, slices: Tensor, *shared: Tensor) -> tuple[Tensor, Tensor]:
        """(A, B) with D_l = A_l B_l and inner width R = r2 min(r0, r1), all layers in one product.

        A is (L, rows, R) and B (R, cols), or A is (rows, R) and B (L, R, cols). Costs
        L m r0 r1 r2 or L n r0 r1 r2 multiplications once a step; then R (m + n) a row and layer,
        as a LoRA of rank R. For m = n = 768, r0 = r1 = r2 = 4, 12 layers: 0.6 million once,
        against 944 million for one frozen product of a layer over 1600 rows.
        """
        left, right = self.ends(shared)
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
        apart: bool = False,
    ) -> list[Chain]:
        """For each layer the matrices that multiply to D_l, factored or whole by ``factored``.

        ``gate`` (L,) multiplies D_l: it goes into the slices, so it costs nothing. ``apart``:
        factored in any case.
        """
        if gate is not None:
            gated = adapter.derive(f"{name}.gated", _gated, refs[0], gate)
            refs = (gated, *refs[1:])
        if not (self.factored or apart):
            whole = adapter.derive(f"{name}.matrices", self.materialise, *refs)
            return [(whole[layer],) for layer in range(self.layers)]
        pair = adapter.derive(f"{name}.factors", self.factors, *refs)
        if self.slices_left:
            return [(pair[0][layer], pair[1]) for layer in range(self.layers)]
        return [(pair[0], pair[1][layer]) for layer in range(self.layers)]


def plain(
    layers: int, rows: int, cols: int, slice_size: tuple[int, int], ring_rank: int = 1
) -> Ring:
    """A ring of order 3."""
    return Ring(layers, (rows,), (cols,), slice_size, (ring_rank,))


def _named(group: str, modes: tuple[int, ...]) -> list[tuple[str, str]]:
    if len(modes) == 1:
        return [(group, group)]
    return [(group, f"{group}.{i}") for i in range(len(modes))]


def _gated(slices: Tensor, gate: Tensor) -> Tensor:
    return slices * gate[:, None]
