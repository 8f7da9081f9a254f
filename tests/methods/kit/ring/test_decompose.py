"""Rings found for a stack of matrices: exact where there is one, no worse than tensorly's."""

import numpy as np
import pytest
import tensorly as tl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorly.decomposition import tensor_ring, tensor_ring_als
from torch import Tensor

from methods.kit.ring.decompose import by_singular_values, decompose, relative_error
from tests.methods.kit.ring.plain_ring import plain


def random_ring(
    size: tuple[int, int, int], slice_size: tuple[int, int], rank: int, seed: int
) -> Tensor:
    """A stack that is a ring of these ranks."""
    rng = torch.Generator().manual_seed(seed)
    ring = plain(*size, slice_size, rank)
    shapes = ring.shapes
    return ring.materialise(*(torch.randn(s, generator=rng, dtype=torch.double) for s in shapes))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("size", "slice_size", "rank"),
    [
        ((6, 8, 7), (2, 2), 2),
        ((12, 40, 16), (3, 3), 2),
        ((5, 9, 6), (1, 1), 3),
        ((6, 10, 8), (2, 3), 1),
        ((8, 10, 10), (3, 2), 2),
    ],
)
def test_a_stack_that_is_a_ring_is_found_exactly(
    size: tuple[int, int, int], slice_size: tuple[int, int], rank: int, seed: int
) -> None:
    stack = random_ring(size, slice_size, rank, seed)
    found = decompose(stack, slice_size, rank)
    assert found.error < 1e-6
    assert [c.shape for c in found.cores] == [
        torch.Size(s) for s in plain(*size, slice_size, rank).shapes
    ]
    materialised = plain(*size, slice_size, rank).materialise(*found.cores)
    torch.testing.assert_close(materialised, stack, atol=1e-4, rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_the_error_is_that_of_the_cores_and_no_more_than_all(
    size: tuple[int, int, int], slice_size: tuple[int, int], rank: int, seed: int
) -> None:
    stack = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    found = decompose(stack, slice_size, rank, sweeps=20, starts=2)
    whole = np.einsum("alb,bic,cja->lij", *(c.numpy() for c in found.cores))
    gap = np.linalg.norm(stack.numpy() - whole) / np.linalg.norm(stack.numpy())
    assert found.error == pytest.approx(gap, abs=1e-9)
    assert found.error <= 1 + 1e-9


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_worse_than_tensorly_on_a_stack_that_is_no_ring(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    stack = torch.randn(6, 8, 7, generator=rng, dtype=torch.double)
    ours = decompose(stack, (2, 2), 2).error
    whole = stack.numpy()
    for theirs in (
        tensor_ring(tl.tensor(whole), rank=[2, 2, 2, 2]),
        tensor_ring_als(tl.tensor(whole), rank=[2, 2, 2, 2], n_iter_max=100, random_state=seed),
    ):
        gap = np.linalg.norm(whole - tl.tr_to_tensor(theirs)) / np.linalg.norm(whole)
        assert ours <= gap * 1.01


def test_the_start_by_singular_values_is_tensorlys() -> None:
    stack = torch.randn(6, 8, 7, generator=torch.Generator().manual_seed(4), dtype=torch.double)
    theirs = tensor_ring(tl.tensor(stack.numpy()), rank=[2, 2, 3, 2])
    gap = np.linalg.norm(stack.numpy() - tl.tr_to_tensor(theirs)) / np.linalg.norm(stack.numpy())
    assert relative_error(stack, by_singular_values(stack, (2, 2, 3))) == pytest.approx(gap)


def test_more_ranks_never_fit_worse() -> None:
    stack = random_ring((8, 12, 10), (4, 4), 3, seed=0)
    errors = [decompose(stack, (r, r), 2).error for r in (1, 2, 3)]
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 0.9 * errors[0]


def test_layers_that_are_all_the_same_need_slices_of_one() -> None:
    one = torch.randn(9, 7, generator=torch.Generator().manual_seed(2))
    assert decompose(one.expand(5, 9, 7), (1, 1), 7).error < 1e-6


def test_a_stack_of_zeros_is_met() -> None:
    found = decompose(torch.zeros(3, 4, 5), (2, 2), 2)
    assert found.error == 0
    assert all(c.isfinite().all() for c in found.cores)
