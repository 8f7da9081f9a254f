"""Tensor rings of any order against explicit traces, tensorly, and all orders of contraction."""

import itertools
import math

import numpy as np
import pytest
import tensorly as tl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.kit.ring.tensor_ring import LARGEST_MODE, TensorRing, chain, merge, modes_of

few = settings(max_examples=60, deadline=None)


@st.composite
def rings(draw: st.DrawFn) -> TensorRing:
    order = draw(st.integers(1, 5))
    sizes = st.lists(st.integers(1, 4), min_size=order, max_size=order)
    return TensorRing(tuple(draw(sizes)), tuple(draw(sizes)))


def random_cores(ring: TensorRing, seed: int) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=rng, dtype=torch.float64) for s in ring.shapes]


@few
@given(rings(), st.integers(0, 99))
def test_entries_are_traces_of_products_of_core_slices(ring: TensorRing, seed: int) -> None:
    cores = random_cores(ring, seed)
    whole = ring.materialise(*cores)
    assert whole.shape == ring.modes
    for index in itertools.product(*(range(n) for n in ring.modes)):
        matrix = torch.eye(ring.ranks[0], dtype=torch.float64)
        for core, i in zip(cores, index, strict=True):
            matrix = matrix @ core[:, i]
        assert whole[index].item() == pytest.approx(torch.trace(matrix).item(), abs=1e-9)


@few
@given(rings(), st.integers(0, 99))
def test_the_same_as_tensorly(ring: TensorRing, seed: int) -> None:
    cores = random_cores(ring, seed)
    if len(cores) > 1:
        theirs = tl.tr_to_tensor([c.numpy() for c in cores])
        np.testing.assert_allclose(ring.materialise(*cores).numpy(), theirs, atol=1e-9)
    assert ring.parameters == sum(c.numel() for c in cores)


@few
@given(rings(), st.integers(0, 99), st.integers(0, 4))
def test_a_cyclic_shift_of_the_cores_only_permutes_the_modes(
    ring: TensorRing, seed: int, by: int
) -> None:
    cores = random_cores(ring, seed)
    by %= len(cores)
    shifted = TensorRing(ring.modes[by:] + ring.modes[:by], ring.ranks[by:] + ring.ranks[:by])
    theirs = shifted.materialise(*cores[by:], *cores[:by])
    axes = [(k - by) % len(cores) for k in range(len(cores))]
    torch.testing.assert_close(theirs.permute(axes), ring.materialise(*cores))


@few
@given(rings(), st.integers(0, 99), st.integers(0, 4))
def test_a_gauge_change_at_any_bond_changes_nothing(ring: TensorRing, seed: int, bond: int) -> None:
    cores = random_cores(ring, seed)
    bond %= len(cores)
    size = ring.ranks[bond]  # to the left of this core
    rng = torch.Generator().manual_seed(seed + 1)
    gauge = 2 * torch.eye(size, dtype=torch.float64)
    gauge += 0.3 * torch.rand(size, size, generator=rng, dtype=torch.float64)
    changed = list(cores)
    changed[bond - 1] = changed[bond - 1] @ gauge
    changed[bond] = torch.einsum("ab,bic->aic", torch.linalg.inv(gauge), changed[bond])
    torch.testing.assert_close(
        ring.materialise(*changed), ring.materialise(*cores), atol=1e-8, rtol=1e-8
    )


def test_with_a_closing_rank_of_one_it_is_a_tensor_train() -> None:
    ring = TensorRing((3, 4, 5), (1, 2, 3))
    cores = random_cores(ring, 0)
    train = tl.tt_to_tensor([c.numpy() for c in cores])
    np.testing.assert_allclose(ring.materialise(*cores).numpy(), train, atol=1e-12)


# --- what it costs ----------------------------------------------------------------------------


def every_order(shapes: tuple[tuple[int, int, int], ...]) -> int:
    """The fewest multiplications over all orders of joining neighbours, tried one by one."""
    if len(shapes) == 1:
        return 0
    costs = []
    for k in range(len(shapes) - 1):
        (a, m, b), (_, n, c) = shapes[k : k + 2]
        rest = (*shapes[:k], (a, m * n, c), *shapes[k + 2 :])
        costs.append(a * m * b * n * c + every_order(rest))
    return min(costs)


@few
@given(rings())
def test_chains_are_merged_in_the_cheapest_order(ring: TensorRing) -> None:
    assert chain(ring.shapes)[0] == every_order(ring.shapes)


@few
@given(rings(), st.integers(0, 99))
def test_merged_cores_are_the_product_of_their_slices(ring: TensorRing, seed: int) -> None:
    cores = random_cores(ring, seed)
    merged = merge(cores)
    for at, index in enumerate(itertools.product(*(range(n) for n in ring.modes))):
        matrix = torch.eye(ring.ranks[0], dtype=torch.float64)
        for core, i in zip(cores, index, strict=True):
            matrix = matrix @ core[:, i]
        torch.testing.assert_close(merged[:, at], matrix)


# --- widths as small factors ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "modes"),
    [
        (768, (8, 8, 12)),
        (512, (8, 8, 8)),
        (32, (4, 8)),
        (64, (8, 8)),
        (160, (4, 5, 8)),
        (12, (12,)),
        (23, (23,)),
        (1, (1,)),
    ],
)
def test_a_width_in_small_factors(width: int, modes: tuple[int, ...]) -> None:
    assert modes_of(width) == modes


@given(st.integers(1, 5000))
def test_factors_multiply_to_the_width_and_are_small_where_they_can_be(width: int) -> None:
    modes = modes_of(width)
    assert math.prod(modes) == width
    assert list(modes) == sorted(modes)
    primes = [p for p in range(2, width + 1) if width % p == 0 and all(p % q for q in range(2, p))]
    assert max(modes) <= max([LARGEST_MODE, *primes])


def test_core_entries_are_drawn_for_a_variance() -> None:
    torch.manual_seed(0)
    ring = TensorRing((30, 30, 30), (3, 2, 4))
    sigma = ring.sigma(0.25)
    found = [
        float(ring.materialise(*(torch.randn(s) * sigma for s in ring.shapes)).square().mean())
        for _ in range(40)
    ]
    assert np.mean(found) == pytest.approx(0.25, rel=0.1)
