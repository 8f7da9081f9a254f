"""The ring against explicit sums, tensorly, and its own laws, on random shapes."""

import math

import numpy as np
import pytest
import tensorly as tl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.kit import Adapter, Clip, Ref, Tower
from methods.kit.ring.ring import CoreNames, Ring
from tests.methods.kit.ring.plain_ring import plain

CLIP = Clip(Tower("image", 1, 8, 1, 8, 1), Tower("text", 1, 8, 1, 8, 1), 8, {})

sizes = st.integers(1, 5)
rings = st.builds(
    plain, st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.tuples(sizes, sizes), sizes
)


@st.composite
def many_cores(draw: st.DrawFn) -> Ring:
    """A ring of matrices whose rows and columns are written as one to three factors."""
    rows, cols = (tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))) for _ in "mn")
    bonds = len(rows) + len(cols) - 1
    ranks = draw(st.lists(st.integers(1, 3), min_size=bonds, max_size=bonds))
    return Ring(draw(st.integers(1, 4)), rows, cols, draw(st.tuples(sizes, sizes)), tuple(ranks))


few = settings(max_examples=60, deadline=None)


@pytest.fixture
def clip() -> Clip:
    return CLIP


def own(ring: Ring, clip: Clip, zero: slice | None = None) -> dict[str, Tensor]:
    """New cores of a ring, as an adapter owns them."""
    adapter = Adapter(clip)
    ring.own(adapter, CoreNames("image", "image", "image"), ring.size[0], zero)
    return adapter.values()


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
        for i in range(ring.size[0]):
            for j in range(ring.size[1]):
                trace = torch.trace(s[:, layer] @ p[:, i] @ q[:, j])
                assert matrices[layer, i, j].item() == pytest.approx(trace.item(), abs=1e-10)


@few
@given(rings, st.integers(0, 99))
def test_materialised_equals_tensorly(ring: Ring, seed: int) -> None:
    cores = random_cores(ring, seed)
    theirs = tl.tr_to_tensor([c.numpy() for c in cores])
    np.testing.assert_allclose(ring.materialise(*cores).numpy(), theirs, atol=1e-10)


@few
@given(many_cores(), st.integers(0, 99))
def test_widths_in_factors_are_a_ring_of_higher_order(ring: Ring, seed: int) -> None:
    cores = random_cores(ring, seed)
    theirs = tl.tr_to_tensor([c.numpy() for c in cores]).reshape(ring.layers, *ring.size)
    np.testing.assert_allclose(ring.materialise(*cores).numpy(), theirs, atol=1e-10)
    torch.testing.assert_close(product(ring, cores), ring.materialise(*cores), atol=1e-10, rtol=0)


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
    (r0, r1), r2 = ring.slice_size, ring.ring_ranks[0]
    matrices = ring.materialise(*random_cores(ring, seed))
    for matrix in matrices:
        assert torch.linalg.matrix_rank(matrix, rtol=1e-9) <= min(ring.size[1], r2 * min(r0, r1))
    assert torch.linalg.matrix_rank(matrices.flatten(1), rtol=1e-9) <= min(ring.layers, r0 * r1)


@few
@given(rings, st.integers(0, 99))
def test_slices_of_one_by_one_make_every_layer_a_multiple_of_one_matrix(
    ring: Ring, seed: int
) -> None:
    ring = plain(ring.layers, *ring.size, (1, 1), ring.ring_ranks[0])
    s, p, q = random_cores(ring, seed)
    one = torch.einsum("bic,cjb->ij", p, q)
    torch.testing.assert_close(ring.materialise(s, p, q), s[0, :, 0][:, None, None] * one)


@few
@given(rings, st.integers(0, 99), st.integers(1, 5))
def test_a_ring_rank_of_one_is_lotr(ring: Ring, seed: int, r: int) -> None:
    ring = plain(ring.layers, *ring.size, (r, r), 1)
    s, p, q = random_cores(ring, seed)
    a, b = p[:, :, 0].T, q[0]  # rows x r, cols x r
    expected = torch.stack([a @ s[:, layer].T @ b.T for layer in range(ring.layers)])
    torch.testing.assert_close(ring.materialise(s, p, q), expected)
    assert sum(map(math.prod, ring.shapes)) == ring.layers * r**2 + r * sum(ring.size)


@pytest.mark.parametrize("rows", [(128,), (4, 4, 8)])
def test_new_cores_give_entries_of_the_variance_of_a_default_linear_layer(
    rows: tuple[int, ...], clip: Clip
) -> None:
    torch.manual_seed(0)
    ring = Ring(24, rows, (64,), (4, 4), (4,) * len(rows))
    found = []
    for _ in range(40):
        cores = [core.detach() for core in own(ring, clip).values()]
        found.append(float(ring.materialise(*cores).square().mean()))
    assert np.mean(found) == pytest.approx(1 / (3 * 128), rel=0.15)


def test_zero_slices_make_their_matrices_zero_and_leave_the_other_cores_alive(clip: Clip) -> None:
    ring = plain(6, 8, 4, (2, 2), 2)
    for zero in (slice(None), slice(3, None)):
        slices, left, right = own(ring, clip, zero).values()
        matrices = ring.materialise(slices, left, right)
        dead = torch.zeros(6, dtype=torch.bool)
        dead[zero] = True
        assert ((matrices == 0).flatten(1).all(1) == dead).all()
        assert bool(left.all())
        assert bool(right.all())


def test_a_core_owned_already_is_shared(clip: Clip) -> None:
    adapter = Adapter(clip)
    for tower, width in (("image", 8), ("text", 6)):
        names = CoreNames(tower, tower, "shared")
        plain(3, width, 4, (2, 2), 2).own(adapter, names, width)
    assert set(adapter.trained()) == {
        "image.slices", "image.left", "text.slices", "text.left", "shared.right",
    }  # fmt: skip


@few
@given(rings, st.integers(0, 99))
def test_a_gate_multiplies_the_matrices_of_its_layer(ring: Ring, seed: int) -> None:
    slices, *shared = random_cores(ring, seed)
    gate = torch.rand(ring.layers, dtype=torch.float64)
    values = dict(zip("spqg", (slices, *shared, gate), strict=True))
    adapter = Adapter(CLIP)
    chains = ring.chains(adapter, "x", tuple(Ref(n) for n in "spq"), Ref("g"))
    bound = adapter.bind(values)
    expected = gate[:, None, None] * ring.materialise(slices, *shared)
    for layer, chain in enumerate(chains):
        matrices = [bound.get(ref) for ref in chain]
        assert len(matrices) == (2 if ring.factored else 1)
        found = matrices[0] @ matrices[1] if ring.factored else matrices[0]
        torch.testing.assert_close(found, expected[layer])


@pytest.mark.parametrize(
    ("size", "left"), [((2, 3), True), ((3, 2), False), ((2, 2), False), ((1, 1), False)]
)
def test_slices_go_where_the_factors_are_narrow_or_else_small(
    size: tuple[int, int], left: bool
) -> None:
    assert plain(4, 20, 9, size, 2).slices_left == left
    assert plain(4, 9, 20, (2, 2), 2).slices_left


def test_wide_factors_are_multiplied_out() -> None:
    assert plain(4, 768, 32, (12, 12), 2).factored  # rank 24: 24 * 800 < 768 * 32
    assert not plain(4, 768, 32, (8, 8), 4).factored  # rank 32
