"""A tensor ring over layers: shared cores, one slice a layer.

Reading A of AdaRing (reference: arXiv 2508.11870; the abstract confirms shared cores and layer
slices, the rest is our reading). The matrices of L layers, each rows x cols, are one tensor

    D_l[i, j] = trace( S_l  P[:, i, :]  Q[:, j, :] )

with slices S (r0, L, r1), the only part that differs by layer, and shared cores P (r1, rows, r2)
and Q (r2, cols, r0). Parameters: L r0 r1 + rows r1 r2 + cols r2 r0. Rank of D_l <= r2 min(r0, r1);
rank of the (L, rows * cols) unfolding <= r0 r1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.kit.adapter import Adapter
from methods.kit.rig import Ref

Cores = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Ring:
    """The sizes of one ring. ``slice_size`` is (r0, r1), ``ring_rank`` r2 links P and Q."""

    layers: int
    rows: int
    cols: int
    slice_size: tuple[int, int]
    ring_rank: int

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        (r0, r1), r2 = self.slice_size, self.ring_rank
        return (r0, self.layers, r1), (r1, self.rows, r2), (r2, self.cols, r0)

    @property
    def parameters(self) -> int:
        return sum(a * b * c for a, b, c in self.shapes)

    @property
    def inner(self) -> int:
        """The width between the two factors of a layer's matrix, an upper bound of its rank."""
        return self.ring_rank * min(self.slice_size)

    @property
    def factored(self) -> bool:
        """Whether x A_l B costs fewer multiplications a row than x D_l: R (m + n) < m n."""
        return self.inner * (self.rows + self.cols) < self.rows * self.cols

    def cores(self, fan_in: int, zero_slices: bool = False) -> tuple[nn.Parameter, ...]:
        """New cores for entries of D of variance 1 / (3 fan_in), as a default nn.Linear has.

        With i.i.d. cores Var(D_l[i, j]) = r0 r1 r2 sigma^6. Zero slices make every matrix zero
        while all cores still get a gradient within two steps (never zero two cores of a ring).
        """
        r0, r1 = self.slice_size
        sigma = (1 / (3 * fan_in * r0 * r1 * self.ring_rank)) ** (1 / 6)
        slices, left, right = (torch.randn(shape) * sigma for shape in self.shapes)
        if zero_slices:
            slices = torch.zeros(self.shapes[0])
        return nn.Parameter(slices), nn.Parameter(left), nn.Parameter(right)

    def materialise(self, slices: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """Every layer's matrix: (L, rows, cols). Both ends of r0 are contracted: it is a trace.

        Costs L rows r1 r2 r0 + L rows cols r2 r0 multiplications, once a step.
        """
        return torch.einsum("alb,bic,cja->lij", slices, left, right)

    def factors(self, slices: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """(A, B) with D_l = A_l B_l and inner width r2 min(r0, r1), all layers in one product.

        The slices go into the core on their wider side: A is (L, rows, R) and B (R, cols), or A
        is (rows, R) and B (L, R, cols). Costs L (rows or cols) r0 r1 r2, once a step.
        """
        r0, r1 = self.slice_size
        if r0 <= r1:
            a = torch.einsum("alb,bic->lica", slices, left).flatten(2)
            return a, right.permute(0, 2, 1).flatten(0, 1)
        b = torch.einsum("alb,cja->lbcj", slices, right).flatten(1, 2)
        return left.permute(1, 0, 2).flatten(1), b

    def hang(
        self, adapter: Adapter, name: str, cores: tuple[nn.Parameter, ...]
    ) -> list[tuple[Ref, ...]]:
        """Own the cores; returns for each layer the chain of matrices that multiplies to D_l."""
        refs = [
            adapter.own(f"{name}.{part}", core)
            for part, core in zip(("slices", "left", "right"), cores, strict=True)
        ]
        if not self.factored:
            whole = adapter.derive(f"{name}.matrices", self.materialise, *refs)
            return [(whole[layer],) for layer in range(self.layers)]
        pair = adapter.derive(f"{name}.factors", self.factors, *refs)
        if self.slice_size[0] <= self.slice_size[1]:
            return [(pair[0][layer], pair[1]) for layer in range(self.layers)]
        return [(pair[0], pair[1][layer]) for layer in range(self.layers)]
