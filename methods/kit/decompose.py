"""A stack of matrices, one a layer, as a ring: the reverse of making matrices from cores.

Alternating least squares (Zhao et al., 2016): two cores are held, the third is the solution of a
linear system, and so on around the ring; the error never grows. Starts: the ring that truncated
singular value decompositions give, which is near but, the basis of its slices being arbitrary, not
at a ring of these ranks even where there is one; then random rings, as the problem has local
minima. Written in torch: of tensorly's two, tensor_ring asks that r0 r1 be no more than the number
of layers, and tensor_ring_als builds systems with a row for every entry of a layer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Cores = tuple[Tensor, Tensor, Tensor]
EXACT = 1e-7  # of the norm; what normal equations in double precision can reach


@dataclass(frozen=True)
class Decomposition:
    """Cores S (r0, L, r1), P (r1, m, r2), Q (r2, n, r0), and |X - ring| / |X|."""

    cores: Cores
    error: float


@torch.no_grad()
def decompose(
    stack: Tensor,
    slice_size: tuple[int, int],
    ring_rank: int,
    sweeps: int = 200,
    starts: int = 4,
    seed: int = 0,
) -> Decomposition:
    """The best ring found for a stack (L, m, n), in double precision.

    A sweep costs about 3 L m n r2 max(r0, r1) multiplications. Stops early when a sweep gains
    less than a millionth of the error, and after a start that is exact.
    """
    target = stack.double()
    ranks = (*slice_size, ring_rank)
    best: Decomposition | None = None
    for start in _starts(target, ranks, starts, seed):
        found = _descend(target, start, sweeps)
        if best is None or found.error < best.error:
            best = found
        if best.error <= EXACT:
            break
    assert best is not None
    return best


def relative_error(stack: Tensor, cores: Cores) -> float:
    """|X - ring| / |X|, and 0 for a stack of zeros that is met."""
    gap = torch.linalg.norm(stack - torch.einsum("alb,bic,cja->lij", *cores))
    return float(gap / torch.linalg.norm(stack)) if stack.any() else float(gap)


def _descend(target: Tensor, cores: Cores, sweeps: int) -> Decomposition:
    error = relative_error(target, cores)
    for _ in range(sweeps):
        for k in range(3):
            turned = target.permute(k, (k + 1) % 3, (k + 2) % 3)
            others = cores[(k + 1) % 3], cores[(k + 2) % 3]
            new = _solve(turned, *others)
            cores = (*cores[:k], new, *cores[k + 1 :])  # type: ignore[assignment]
        before, error = error, relative_error(target, cores)
        if error <= EXACT or before - error <= 1e-6 * error:
            break
    return Decomposition(cores, error)


def _solve(target: Tensor, after: Tensor, before: Tensor) -> Tensor:
    """The core (a, n, b) of the first mode that fits best beside the two others of the circle.

    Normal equations: their matrix (a b, a b) is contracted from the two cores alone, the right
    side from the target with one core and then the other.
    """
    half = torch.einsum("lij,cja->lica", target, before)
    side = torch.einsum("lica,bic->lab", half, after)
    one = torch.einsum("bic,dif->bdcf", after, after)
    two = torch.einsum("cja,fjg->cfag", before, before)
    gram = torch.einsum("bdcf,cfag->abgd", one, two)
    a, b = gram.shape[:2]
    flat = gram.reshape(a * b, a * b)
    inverse = torch.linalg.pinv(flat, rtol=1e-14, hermitian=True)
    return (side.flatten(1) @ inverse).unflatten(1, (a, b)).permute(1, 0, 2).contiguous()


def _starts(target: Tensor, ranks: tuple[int, int, int], count: int, seed: int) -> Iterator[Cores]:
    yield by_singular_values(target, ranks)
    r0, r1, r2 = ranks
    layers, m, n = target.shape
    rng = torch.Generator().manual_seed(seed)
    for _ in range(count - 1):
        shapes = ((r0, layers, r1), (r1, m, r2), (r2, n, r0))
        s, p, q = (torch.randn(shape, generator=rng, dtype=torch.double) for shape in shapes)
        yield s.to(target.device), p.to(target.device), q.to(target.device)


def by_singular_values(target: Tensor, ranks: tuple[int, int, int]) -> Cores:
    """Two truncated decompositions: layers against the rest, then rows against columns.

    Ranks above what the stack has are filled with zeros.
    """
    r0, r1, r2 = ranks
    _, m, n = target.shape
    slices, rest = _split(target.flatten(1), r0 * r1)
    middle = rest.reshape(r0, r1, m, n).permute(1, 2, 3, 0)  # (r1, m, n, r0)
    left, right = _split(middle.reshape(r1 * m, n * r0), r2)
    return (
        slices.reshape(-1, r0, r1).permute(1, 0, 2).contiguous(),
        left.reshape(r1, m, r2),
        right.reshape(r2, n, r0),
    )


def _split(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best (rows, rank) times (rank, cols), the first with orthonormal columns."""
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    kept = min(rank, len(s))
    pad = (0, rank - kept)
    return F.pad(u[:, :kept], pad), F.pad(s[:kept, None] * v[:kept], (0, 0, *pad))
