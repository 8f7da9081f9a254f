"""Decomposition of a stack of matrices, one a layer, into the cores of a ring.

Alternating least squares (Zhao et al., 2016): with two cores fixed, the third is the solution of a
linear system, and so on around the ring; the error never grows. Starting points: the ring of
truncated singular value decompositions (near, but not exact even where a ring of these ranks
exists, since the basis of its slices is arbitrary), then random rings, because the problem has
local minima. Of tensorly's two functions, tensor_ring needs r0 r1 to be at most the number of
layers, and tensor_ring_als builds systems with one row for every entry of a layer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.kit.ring.ring import Cores

EXACT = 1e-7  # relative error that normal equations reach in double precision
UNUSED = 1e-10  # directions of a bond below this share of its largest singular value are unused


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
    first: int | None = None,
) -> Decomposition:
    """Return the best ring found for a stack (L, m, n), in double precision.

    With ``first``, each start gets this many sweeps, and only the best one goes on to ``sweeps``.
    A sweep costs about 3 L m n r2 max(r0, r1) multiplications. Stops early when a sweep gains less
    than a millionth of the error, and after a start that is exact.
    """
    target = stack.double()
    best: Decomposition | None = None
    for start in _starts(target, (*slice_size, ring_rank), starts, seed):
        found = _descend(target, start, first or sweeps)
        if best is None or found.error < best.error:
            best = found
        if best.error <= EXACT:
            return best
    assert best is not None
    return best if first is None else _descend(target, best.cores, max(0, sweeps - first))


def relative_error(stack: Tensor, cores: Cores) -> float:
    """Return |X - ring| / |X|, and 0 for a stack of zeros that is met."""
    gap = torch.linalg.norm(stack - torch.einsum("alb,bic,cja->lij", *cores))
    return float(gap / torch.linalg.norm(stack)) if stack.any() else float(gap)


def _descend(target: Tensor, cores: Cores, sweeps: int) -> Decomposition:
    error = relative_error(target, cores)
    for _ in range(sweeps):
        for k in range(3):
            rotated = target.permute(k, (k + 1) % 3, (k + 2) % 3)
            new = _solve(rotated, cores[(k + 1) % 3], cores[(k + 2) % 3])
            cores = (*cores[:k], new, *cores[k + 1 :])  # type: ignore[assignment]
        before, error = error, relative_error(target, cores)
        if error <= EXACT or before - error <= 1e-6 * error:
            break
    return Decomposition(cores, error)


def _solve(target: Tensor, after: Tensor, before: Tensor) -> Tensor:
    """Return the least-squares core (a, n, b) of the first mode, given the other two.

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
    (r0, r1, r2), (layers, m, n) = ranks, target.shape
    rng = torch.Generator().manual_seed(seed)
    for _ in range(count - 1):
        shapes = ((r0, layers, r1), (r1, m, r2), (r2, n, r0))
        s, p, q = (
            torch.randn(shape, generator=rng, dtype=torch.double, device="cpu") for shape in shapes
        )
        yield s.to(target.device), p.to(target.device), q.to(target.device)


def by_singular_values(target: Tensor, ranks: tuple[int, int, int]) -> Cores:
    """Return the ring of two truncated decompositions: layers, then rows against columns.

    Ranks above those of the stack are filled with zeros.
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
    """Return the best (rows, rank) times (rank, cols), the first with orthonormal columns."""
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    kept = min(rank, len(s))
    pad = (0, rank - kept)
    return F.pad(u[:, :kept], pad), F.pad(s[:kept, None] * v[:kept], (0, 0, *pad))


# --- cores to train further -----------------------------------------------------------------------


@torch.no_grad()
def balance_cores(cores: Cores, rounds: int = 20, seed: int = 0) -> Cores:
    """Return the same ring in cores that train well.

    A ring leaves the basis of each bond open, and least squares leave it anywhere: large entries
    that cancel, directions that are zero on both sides and would never get a gradient. Here both
    sides of every bond have the same norm (cores of least norm), all cores have entries of one
    size, and unused directions are zero on one side and random on the other.
    """
    found = list(cores)
    unused = [torch.zeros(0)] * 3
    for _ in range(rounds):
        for k in range(3):
            left, right = found[k], found[(k + 1) % 3]
            change, inverse, unused[k] = _balance(left.flatten(0, 1), right.flatten(1))
            found[k] = left @ change
            found[(k + 1) % 3] = torch.tensordot(inverse, right, dims=1)
    if not all(bool(core.any()) for core in found):
        return cores
    sizes = [core.square().mean().sqrt() for core in found]
    mean = (sizes[0] * sizes[1] * sizes[2]) ** (1 / 3)
    found = [core * (mean / size) for core, size in zip(found, sizes, strict=True)]
    rng = torch.Generator().manual_seed(seed)
    for k in range(3):
        core = found[(k + 1) % 3]
        noise = torch.randn(core.shape, generator=rng, dtype=core.dtype, device="cpu") * mean
        found[(k + 1) % 3] = torch.where(unused[k][:, None, None], noise, core)
    for k in range(3):
        found[k] = torch.where(unused[k], torch.zeros_like(found[k]), found[k])
    return found[0], found[1], found[2]


def _balance(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return T and T^-1 so that left T and T^-1 right have the same, diagonal Gram matrix.

    Left is (m, r), right (r, n). Directions that their product does not use become zero in both;
    the third value marks them (r,).
    """
    a, b = _triangle(left), _triangle(right.mT)
    u, s, v = torch.linalg.svd(a @ b.mT)
    used = s > UNUSED * s[0]
    scale = torch.where(used, s.clamp(min=1e-300).rsqrt(), torch.zeros_like(s))
    return b.mT @ v.mT * scale, scale[:, None] * (u.mT @ a), ~used


def _triangle(tall: Tensor) -> Tensor:
    """Return R (r, r) with R^T R equal to the Gram matrix of (m, r)."""
    r = torch.linalg.qr(tall, mode="r").R
    return F.pad(r, (0, 0, 0, tall.shape[1] - len(r)))
