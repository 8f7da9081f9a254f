"""The ring against explicit sums, tensorly, and its own laws, on random shapes."""

import numpy as np
import pytest
import tensorly as tl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.kit.ring import Ring

sizes = st.integers(1, 5)
rings = st.builds(
    Ring, st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.tuples(sizes, sizes), sizes
)
few = settings(max_examples=60, deadline=None)


def random_cores(ring: Ring, seed: int = 0) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=rng, dtype=torch.float64) for s in ring.shapes]


def product(ring: Ring, cores: list[Tensor]) -> Tensor:
    """(L, rows, cols) from the factors."""
    a, b = ring.factors(*cores)
    return a @ b


@few
@given(rings, st.integers(0, 99))
def test_materialised_equals_the_trace_of_core_slices(ring: Ring, seed: int) -> None:
    s, p, q = random_cores(ring, seed)
    matrices = ring.materialise(s, p, q)
    for layer in range(ring.layers):
        for i in range(ring.rows):
            for j in range(ring.cols):
                trace = torch.trace(s[:, layer] @ p[:, i] @ q[:, j])
                assert matrices[layer, i, j].item() == pytest.approx(trace.item(), abs=1e-10)


@few
@given(rings, st.integers(0, 99))
def test_materialised_equals_tensorly(ring: Ring, seed: int) -> None:
    cores = random_cores(ring, seed)
    theirs = tl.tr_to_tensor([c.numpy() for c in cores])
    np.testing.assert_allclose(ring.materialise(*cores).numpy(), theirs, atol=1e-10)


@few
@given(rings, st.integers(0, 99))
def test_factored_equals_materialised(ring: Ring, seed: int) -> None:
    cores = random_cores(ring, seed)
    torch.testing.assert_close(product(ring, cores), ring.materialise(*cores), atol=1e-10, rtol=0)
    assert ring.factors(*cores)[0].shape[-1] == ring.inner


@few
@given(rings, st.integers(0, 99), st.integers(0, 2))
def test_a_gauge_change_at_any_bond_changes_nothing(ring: Ring, seed: int, bond: int) -> None:
    cores = random_cores(ring, seed)
    size = cores[bond].shape[2]
    rng = torch.Generator().manual_seed(seed + 1)
    gauge = torch.eye(size, dtype=torch.float64) * 2
    gauge += 0.3 * torch.rand(size, size, generator=rng, dtype=torch.float64)
    changed = list(cores)
    changed[bond] = cores[bond] @ gauge
    after = (bond + 1) % 3
    changed[after] = torch.einsum("ab,bic->aic", torch.linalg.inv(gauge), changed[after])
    torch.testing.assert_close(
        ring.materialise(*changed), ring.materialise(*cores), atol=1e-8, rtol=1e-8
    )


@few
@given(rings, st.integers(0, 99))
def test_a_cyclic_shift_of_the_cores_only_permutes_the_modes(ring: Ring, seed: int) -> None:
    s, p, q = random_cores(ring, seed)
    shifted = torch.einsum("bic,cja,alb->ijl", p, q, s)
    torch.testing.assert_close(shifted.permute(2, 0, 1), ring.materialise(s, p, q))


@few
@given(rings, st.integers(0, 99))
def test_ranks_are_bounded_by_the_ring(ring: Ring, seed: int) -> None:
    (r0, r1), r2 = ring.slice_size, ring.ring_rank
    matrices = ring.materialise(*random_cores(ring, seed))
    for matrix in matrices:
        assert torch.linalg.matrix_rank(matrix, rtol=1e-9) <= min(ring.cols, r2 * min(r0, r1))
    assert torch.linalg.matrix_rank(matrices.flatten(1), rtol=1e-9) <= min(ring.layers, r0 * r1)


@few
@given(rings, st.integers(0, 99))
def test_slices_of_one_by_one_make_every_layer_a_multiple_of_one_matrix(
    ring: Ring, seed: int
) -> None:
    ring = Ring(ring.layers, ring.rows, ring.cols, (1, 1), ring.ring_rank)
    s, p, q = random_cores(ring, seed)
    one = torch.einsum("bic,cjb->ij", p, q)
    torch.testing.assert_close(ring.materialise(s, p, q), s[0, :, 0][:, None, None] * one)


@few
@given(rings, st.integers(0, 99), st.integers(1, 5))
def test_a_ring_rank_of_one_is_lotr(ring: Ring, seed: int, r: int) -> None:
    ring = Ring(ring.layers, ring.rows, ring.cols, (r, r), 1)
    s, p, q = random_cores(ring, seed)
    a, b = p[:, :, 0].T, q[0]  # rows x r, cols x r
    expected = torch.stack([a @ s[:, layer].T @ b.T for layer in range(ring.layers)])
    torch.testing.assert_close(ring.materialise(s, p, q), expected)
    assert ring.parameters == ring.layers * r**2 + r * (ring.rows + ring.cols)


@given(rings)
def test_the_count_is_that_of_the_cores(ring: Ring) -> None:
    assert ring.parameters == sum(c.numel() for c in random_cores(ring))


def test_new_cores_give_entries_of_the_variance_of_a_default_linear_layer() -> None:
    torch.manual_seed(0)
    ring = Ring(24, 128, 64, (4, 4), 4)
    cores = [c.detach() for c in ring.cores(fan_in=128)]
    assert float(ring.materialise(*cores).var()) == pytest.approx(1 / (3 * 128), rel=0.25)


def test_zero_slices_make_every_matrix_zero_and_leave_the_other_cores_alive() -> None:
    ring = Ring(3, 8, 4, (2, 2), 2)
    cores = ring.cores(fan_in=8, zero_slices=True)
    assert not ring.materialise(*cores).any()
    assert not cores[0].any()
    assert bool(cores[1].all())
    assert bool(cores[2].all())
