"""Merging of cores against explicit products and all orders of contraction; factors of widths."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.kit.ring.tensor_ring import LARGEST_MODE, CoreShape, merge, merge_cost, modes_of

few = settings(max_examples=60, deadline=None)


@st.composite
def core_shapes(draw: st.DrawFn) -> tuple[CoreShape, ...]:
    """The shapes of one to five neighbouring cores."""
    modes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    ranks = draw(st.lists(st.integers(1, 4), min_size=len(modes) + 1, max_size=len(modes) + 1))
    return tuple(zip(ranks, modes, ranks[1:], strict=False))


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
@given(core_shapes())
def test_chains_are_merged_in_the_cheapest_order(shapes: tuple[CoreShape, ...]) -> None:
    assert merge_cost(shapes)[0] == every_order(shapes)


@few
@given(core_shapes(), st.integers(0, 99))
def test_merged_cores_are_the_product_of_their_slices(
    shapes: tuple[CoreShape, ...], seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    cores = [torch.randn(s, generator=rng, dtype=torch.float64) for s in shapes]
    merged = merge(cores)
    for at, index in enumerate(itertools.product(*(range(n) for _, n, _ in shapes))):
        matrix = torch.eye(shapes[0][0], dtype=torch.float64)
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
