"""Every reading and form on random sizes, against sums over explicit indices of the cores."""

import math
from collections.abc import Sequence
from functools import reduce

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.kit import Adapter, Clip, Ref, Tower
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.ring import weight_rings
from methods.kit.ring.adapter_rings import AdapterRings, Reading, Share
from methods.kit.ring.ranks import Rank
from methods.kit.ring.tensor_ring import modes_of

few = settings(max_examples=60, deadline=None)
small = st.integers(1, 4)
ranks = st.builds(Rank, small, st.tuples(small, small), st.sampled_from(["", "2x3"]))
widths = st.integers(1, 30)
SIDES = ("slices", "left", "right")


def clip_of(image: int, text: int, depth: int) -> Clip:
    """A model of which only the sizes are known."""
    sizes = {"image": image, "text": text}
    towers = {n: Tower(n, depth, w, 1, 4 * w, 1) for n, w in sizes.items()}
    return Clip(towers["image"], towers["text"], 8, {})


def filled(adapter: Adapter) -> BoundAdapter:
    """The adapter bound with random cores in double precision."""
    rng = torch.Generator().manual_seed(0)
    shapes = {name: value.shape for name, value in adapter.values().items()}
    values = {n: torch.randn(s, generator=rng, dtype=torch.double) for n, s in shapes.items()}
    return adapter.bind(values)


def matrix(bound: BoundAdapter, chain: Sequence[Ref], turned: bool = False) -> Tensor:
    matrices = [bound.get(ref) for ref in chain]
    return reduce(torch.matmul, [m.mT for m in matrices] if turned else matrices)


def core(bound: BoundAdapter, part: str, name: str, towers: Sequence[str]) -> list[Tensor]:
    """The cores of that name in a ring: one, or a numbered row of them."""
    for tower in towers:
        stem = f"{tower}.{part}.{name}"
        if stem in bound._values:
            return [bound._values[stem]]
        if f"{stem}.0" in bound._values:
            many = [n for n in bound._values if n.startswith(f"{stem}.")]
            return [bound._values[f"{stem}.{i}"] for i in range(len(many))]
    raise AssertionError(f"no core {name} of {part}")


def whole(cores: Sequence[Tensor], sizes: tuple[int, ...]) -> Tensor:
    """The tensor of a ring by one product after another and a trace at the end."""
    total = cores[0]
    for following in cores[1:]:
        total = torch.tensordot(total, following, dims=1)
    return torch.einsum("a...a->...", total).reshape(sizes)


@few
@given(
    st.tuples(widths, widths),
    st.integers(1, 4),
    st.integers(1, 12),
    ranks,
    st.sampled_from(["two_rings", "one_ring", "factored", "parallel"]),
    st.sampled_from(["tower", "both"]),
)
def test_down_and_up_of_every_layer(
    width: tuple[int, int], layers: int, bottleneck: int, rank: Rank, reading: Reading, share: Share
) -> None:
    clip = clip_of(*width, layers)
    adapter = Adapter(clip)
    towers = list(clip.towers())
    found = {
        t.name: AdapterRings(list(t.blocks()), bottleneck, reading, share, rank).own(adapter)
        for t in towers
    }
    bound = filled(adapter)
    for tower in towers:
        d, b = tower.width, bottleneck
        where = (tower.name, "shared")
        rings = {}
        for part in ("ring",) if reading == "one_ring" else ("down", "up"):
            name = f"{part}.{rank.label}" if rank.label else part
            cores = [
                c for side in ("slices", "left", "right") for c in core(bound, name, side, where)
            ]
            size = {"ring": (2 * layers, d, b), "down": (layers, d, b), "up": (layers, b, d)}[part]
            rings[part] = whole(cores, size)
        if reading == "one_ring":
            downs, ups = rings["ring"][:layers], rings["ring"][layers:].mT
        else:
            downs, ups = rings["down"], rings["up"]
        for layer, branch in enumerate(found[tower.name]):
            torch.testing.assert_close(matrix(bound, branch.down), downs[layer])
            torch.testing.assert_close(matrix(bound, branch.up, branch.transposed), ups[layer])


@few
@given(widths, st.integers(1, 4), st.integers(1, 12), st.integers(1, 5))
def test_counts_for_equal_ranks(width: int, layers: int, bottleneck: int, r: int) -> None:
    d, b = width, bottleneck
    factors = sum(modes_of(d)) + sum(modes_of(b))
    expected: dict[Reading, int] = {
        "two_rings": 2 * r**2 * (layers + d + b),
        "one_ring": r**2 * (2 * layers + d + b),
        "factored": 2 * r**2 * (layers + factors),
        "parallel": 2 * r**2 * (layers + d + b),
    }
    for reading, count in expected.items():
        clip = clip_of(d, d, layers)
        adapter = Adapter(clip)
        stack = AdapterRings(list(clip.image.blocks()), b, reading, "tower", Rank(r, (r, r)))
        stack.own(adapter)
        assert sum(p.numel() for p in adapter.parameters()) == count


@few
@given(
    st.integers(1, 12),
    st.integers(1, 4),
    ranks,
    st.lists(st.sampled_from(["q", "k", "v", "o", "fc", "proj"]), min_size=1, unique=True),
    st.sampled_from(["shape", "site"]),
    st.booleans(),
)
def test_the_update_of_every_site(
    width: int,
    layers: int,
    rank: Rank,
    sites: list[str],
    grouping: weight_rings.Grouping,
    factored: bool,
) -> None:
    clip = clip_of(width, width, layers)
    adapter = Adapter(clip)
    groups = weight_rings.group_sites(list(clip.image.blocks()), sites, grouping)
    assert sorted(s for g in groups for s in g.name.split("_")) == sorted(sites)
    for group in groups:
        weight_rings.attach_updates(adapter, group, rank, factored, 0.5)
    bound = filled(adapter)
    updates = {
        key: torch.zeros(math.prod(shape), dtype=torch.double).reshape(shape)
        for layer in range(layers)
        for key, shape in {
            ("image", layer, "qkv"): (3 * width, width),
            ("image", layer, "out_proj"): (width, width),
            ("image", layer, "fc"): (4 * width, width),
            ("image", layer, "proj"): (width, 4 * width),
        }.items()
    }
    for group in groups:
        name = f"{group.name}.{rank.label}" if rank.label else group.name
        cores = [c for s in SIDES for c in core(bound, name, s, ("image",))]
        matrices = whole(cores, (len(group.sites), *group.shape))
        for site, update in zip(group.sites, matrices, strict=True):
            rows = slice(*site.rows) if site.rows else slice(None)
            updates[site.key][rows] += 0.5 * update
    for key, update in updates.items():
        folded, _ = bound.folded(key, torch.zeros_like(update), None)
        torch.testing.assert_close(folded, update)
