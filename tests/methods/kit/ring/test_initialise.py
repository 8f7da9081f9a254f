"""Rings that start near trained matrices: exact where they can be, as near as SVD elsewhere."""

from dataclasses import replace

import numpy as np
import pytest
import tensorly as tl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorly.decomposition import tensor_ring, tensor_ring_als
from torch import Tensor

from harness.data.split import Images
from harness.model.backbone import Backbone
from harness.model.classifier import Classifier
from methods.adaring import AdaRing
from methods.full_rank import FullRank
from methods.kit import Adapter, UsageError
from methods.kit.contract.source_weights import SourceAdapter, SourceWeights
from methods.kit.ring import initialise
from methods.kit.ring.decompose import balance_cores, by_singular_values
from methods.kit.ring.ranks import Rank
from methods.kit.ring.ring import Cores
from tests.conftest import NAMES, TEMPLATE, task_of
from tests.methods.adapter_values import load_state

WIDE = 5  # of the bottlenecks


def ring_of(cores: Cores) -> Tensor:
    return torch.einsum("alb,bic,cja->lij", *cores)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def learnt(
    clip: object, seed: int = 0, same_down: bool = False, structure: bool = False
) -> SourceWeights:
    """Random adapters in all blocks; ``structure``: those of a ring of rank 2 with slices 2 x 2."""
    pairs = {}
    for tower in clip.towers():  # type: ignore[attr-defined]
        layers, width = tower.depth, tower.width
        down, up = randn(layers, width, WIDE, seed=seed), randn(layers, WIDE, width, seed=seed + 1)
        if structure:
            sides = [(width, WIDE), (WIDE, width)]
            down, up = (
                ring_of((randn(2, layers, 2, seed=s), randn(2, m, 2, seed=s), randn(2, n, 2)))
                for s, (m, n) in enumerate(sides)
            )
        for i in range(layers):
            d = down[0] if same_down else down[i]
            pairs[tower.name, i] = SourceAdapter(0.3 * d, 0.1 * up[i], "gelu")
    return SourceWeights("a run", pairs, {})


def logits(backbone: Backbone, adapter: Adapter, images: Images) -> Tensor:
    net = Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))
    with torch.no_grad():
        return net(images.pixels, adapter.bind()).logits


def uncompressed(backbone: Backbone, start: SourceWeights) -> Adapter:
    """The adapters of a start as the full_rank run that they come from."""
    adapter = FullRank(bottleneck=WIDE).attach(backbone.clip, task_of(backbone))
    state = {}
    for (tower, i), pair in start.adapters.items():
        state[f"{tower}.{i}.down"], state[f"{tower}.{i}.up"] = pair.down.float(), pair.up.float()
    load_state(adapter, state)
    return adapter


def started(backbone: Backbone, method: AdaRing, start: SourceWeights) -> Adapter:
    return method.attach(backbone.clip, replace(task_of(backbone), start=start))


def errors(adapter: Adapter) -> dict[str, float]:
    return {k: v["relative"] for k, v in adapter.bind().tables()[initialise.ERRORS].items()}


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    st.integers(0, 99),
)
def test_trainable_cores_are_the_same_ring_and_of_one_size(
    size: tuple[int, int, int], ranks: tuple[int, int, int], seed: int
) -> None:
    layers, m, n = size
    r0, r1, r2 = ranks
    cores = (
        1e4 * randn(r0, layers, r1, seed=seed),
        1e-3 * randn(r1, m, r2, seed=seed + 1),
        randn(r2, n, r0, seed=seed + 2),
    )
    found = balance_cores(cores)
    whole = ring_of(cores)
    torch.testing.assert_close(ring_of(found), whole, atol=1e-8 * float(whole.abs().max()), rtol=0)
    assert [c.shape for c in found] == [c.shape for c in cores]


def test_every_bond_weighs_the_same_on_both_sides() -> None:
    cores = 1e4 * randn(3, 9, 4), 1e-3 * randn(4, 20, 2, seed=1), randn(2, 8, 3, seed=2)
    found = balance_cores(cores)
    sizes = [float(c.square().mean().sqrt()) for c in found]
    assert sizes == pytest.approx([sizes[0]] * 3)
    for k in range(3):
        left, right = found[k].flatten(0, 1), found[(k + 1) % 3].flatten(1)
        one, two = left.mT @ left, right @ right.mT
        assert float((one / one.norm() - two / two.norm()).norm()) < 0.05


def test_directions_that_are_not_used_can_still_be_learnt() -> None:
    """Singular values leave most of wide slices zero on both sides: dead, were it not for noise."""
    stack = randn(4, 9, 6)
    cores = by_singular_values(stack, (5, 4, 3))
    assert not cores[0][1:].any()
    assert float(cores[2][..., 1:].abs().max()) < 1e-12  # so neither side ever gets a gradient
    found = [core.clone().requires_grad_() for core in balance_cores(cores)]
    whole = ring_of((found[0], found[1], found[2]))
    torch.testing.assert_close(whole.detach(), ring_of(cores))
    (whole - randn(4, 9, 6, seed=7)).square().sum().backward()
    for k in range(3):
        left, right = found[k], found[(k + 1) % 3]
        assert left.grad is not None
        assert right.grad is not None
        for j in range(left.shape[2]):
            assert left.grad[..., j].any() or right.grad[j].any()


@pytest.mark.parametrize("reading", ["two_rings", "one_ring"])
def test_a_ring_of_enough_rank_starts_as_the_run(
    reading: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    start = learnt(backbone.clip)
    depth = max(backbone.clip.image.depth, backbone.clip.text.depth)
    size = (depth, depth) if reading == "two_rings" else (1, 2 * depth)
    method = AdaRing(
        form="adapter", reading=reading, slice_size=size, ring_rank=WIDE, bottleneck=WIDE
    )  # type: ignore[arg-type]
    adapter = started(backbone, method, start)
    expected = logits(backbone, uncompressed(backbone, start), images)
    frozen = logits(backbone, Adapter(backbone.clip), images)
    assert not torch.allclose(frozen, expected, atol=0.1)
    torch.testing.assert_close(logits(backbone, adapter, images), expected, atol=1e-3, rtol=1e-3)
    assert max(errors(adapter).values()) < 1e-5
    cold = method.attach(backbone.clip, task_of(backbone))
    shapes = {name: value.shape for name, value in cold.values().items()}
    assert {name: value.shape for name, value in adapter.values().items()} == shapes


def test_a_run_that_is_a_ring_of_these_ranks_is_found_exactly(tiny: dict[str, Backbone]) -> None:
    start = learnt(tiny["flat"].clip, structure=True)
    method = AdaRing(form="adapter", slice_size=2, ring_rank=2, bottleneck=WIDE)
    assert max(errors(started(tiny["flat"], method, start)).values()) < 1e-3


def test_the_error_is_that_of_the_singular_values(tiny: dict[str, Backbone]) -> None:
    """With slices 1 x r and a ring rank of the whole bottleneck the best ring is known."""
    clip = tiny["flat"].clip
    start = learnt(clip)
    method = AdaRing(form="adapter", slice_size=(1, 1), ring_rank=WIDE, bottleneck=WIDE)
    found = errors(started(tiny["flat"], method, start))
    for tower in clip.towers():
        pairs = [start.adapters[tower.name, i] for i in range(tower.depth)]
        for side in ("down", "up"):
            stack = np.stack([getattr(p, side).numpy() for p in pairs])
            values = np.linalg.svd(stack.reshape(len(stack), -1), compute_uv=False)
            tail = np.sqrt((values[1:] ** 2).sum() / (values**2).sum())
            assert found[f"{tower.name}.{side}"] == pytest.approx(tail, abs=1e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_worse_than_tensorly(seed: int) -> None:
    stack = randn(6, 12, 7, seed=seed)
    made = initialise.fit_ring(stack, Rank(3, (2, 2))).made
    for theirs in (
        tensor_ring(tl.tensor(stack.numpy()), rank=[2, 2, 3, 2]),
        tensor_ring_als(
            tl.tensor(stack.numpy()), rank=[2, 2, 3, 2], n_iter_max=100, random_state=seed
        ),
    ):
        gap = np.linalg.norm(stack.numpy() - tl.tr_to_tensor(theirs))
        assert float((stack - made).norm()) <= gap * 1.01


def test_later_rings_take_what_the_first_leave(tiny: dict[str, Backbone], images: Images) -> None:
    """Where all layers share one down matrix, any ring has it, and the up matrices add up."""
    backbone = tiny["flat"]
    start = learnt(backbone.clip, same_down=True)
    method = AdaRing(form="adapter", ranks=((WIDE, 1), (WIDE, 2)), bottleneck=WIDE)
    adapter = started(backbone, method, start)
    expected = logits(backbone, uncompressed(backbone, start), images)
    torch.testing.assert_close(logits(backbone, adapter, images), expected, atol=1e-3, rtol=1e-3)
    one = AdaRing(form="adapter", ranks=((WIDE, 1),), bottleneck=WIDE)
    assert errors(started(backbone, one, start))["image.up"] > 0.3
    assert errors(adapter)["image.up"] < 1e-5


def test_scales_need_not_agree(tiny: dict[str, Backbone], images: Images) -> None:
    backbone = tiny["flat"]
    start = learnt(backbone.clip)
    found = [
        logits(
            backbone,
            started(backbone, AdaRing(form="adapter", scale=s, bottleneck=WIDE), start),
            images,
        )
        for s in (1.0, 4.0)
    ]
    torch.testing.assert_close(found[0], found[1], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("grouping", ["shape", "site"])
def test_updates_of_weights_start_as_the_run(
    grouping: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    clip = backbone.clip
    plain = FullRank(form="delta", sites=("q", "v"), layers="top:2", towers=("image",))
    source = plain.attach(clip, task_of(backbone))
    with torch.no_grad():
        for i, p in enumerate(source.parameters()):
            p.copy_(0.05 * randn(*p.shape, seed=i))
    updates = {}
    for block in clip.blocks(("image",), "top:2"):
        for name in ("q", "v"):
            updates[block.site(name)] = source.values()[f"{block.key}.{name}"].detach().double()
    method = AdaRing(
        form="delta", sites=("q", "v"), layers="top:2", towers=("image",), slice_size=(1, 4),
        ring_rank=clip.image.width, scale=2.0, grouping=grouping,  # type: ignore[arg-type]
    )  # fmt: skip
    adapter = started(backbone, method, SourceWeights("a run", {}, updates))
    expected = logits(backbone, source, images)
    torch.testing.assert_close(logits(backbone, adapter, images), expected, atol=2e-3, rtol=1e-3)


def test_a_run_that_never_moved_leaves_a_ring_that_can_train(tiny: dict[str, Backbone]) -> None:
    clip = tiny["flat"].clip
    start = learnt(clip)
    zero = {k: replace(p, up=torch.zeros_like(p.up)) for k, p in start.adapters.items()}
    for reading in ("two_rings", "one_ring"):
        method = AdaRing(form="adapter", reading=reading, slice_size=2, bottleneck=WIDE)  # type: ignore[arg-type]
        adapter = started(tiny["flat"], method, replace(start, adapters=zero))
        assert all(v.isfinite().all() for v in adapter.values().values())
        if reading == "two_rings":
            assert not adapter.values()["image.up.slices"].any()
            assert adapter.values()["image.up.left"].any()


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (
            AdaRing(form="adapter"),
            "method.bottleneck: 32, but the adapters of run a run are 5 wide",
        ),
        (AdaRing(form="adapter", bottleneck=WIDE, activation="relu"), "say method.activation=gelu"),
        (AdaRing(form="adapter", bottleneck=WIDE, layers="top:1"), "say method.layers=1,2"),
        (
            AdaRing(form="adapter", bottleneck=WIDE, towers=("image",)),
            "say method.towers=image,text",
        ),
        (AdaRing(form="delta"), "say method.form=adapter"),
        (AdaRing(form="adapter", reading="factored"), "needs two_rings or one_ring"),
        (AdaRing(form="adapter", reading="parallel"), "needs two_rings or one_ring"),
        (AdaRing(form="adapter", share="both"), "needs method.share=tower"),
    ],
)
def test_a_method_that_does_not_fit_is_told_what_would(
    method: AdaRing, told: str, tiny: dict[str, Backbone]
) -> None:
    with pytest.raises(UsageError, match=told):
        started(tiny["flat"], method, learnt(tiny["flat"].clip))


def test_decomposing_stays_on_the_cpu_wherever_the_model_is() -> None:
    stack = randn(3, 6, 4)
    with torch.device("meta"):
        found = initialise.fit_ring(stack, Rank(2, (2, 2)))
    assert found.made.device.type == "cpu"
    torch.testing.assert_close(found.made, initialise.fit_ring(stack, Rank(2, (2, 2))).made)
