"""step.ring: AdaRing against LoRA and dense adapters that compute the same.

A ring's matrices are made once a step, for all layers, and then run as the kernels of its peers do:
updates of weights as a LoRA of rank r2 min(r0, r1), adapters as per-layer adapters of the same
bottleneck. Both arms start from equal numbers, so their logits and losses are equal too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import torch

from methods.adaring import AdaRing
from methods.full_rank import FullRank
from methods.kit import Method
from methods.kit.core.field_types import TowerName
from methods.kit.parts.bottleneck import Bottleneck
from methods.lora import LoRA
from tests.benchmarks.measure import Case
from tests.benchmarks.ours import B32, Trainer, attached, backbone
from tests.benchmarks.registry import row

IMAGE: tuple[TowerName, ...] = ("image",)


@dataclass(frozen=True)
class Pair:
    """AdaRing and a peer of its effective rank."""

    name: str
    against: str
    ring: AdaRing
    peer: Method


def delta(ring_rank: int, slice_size: int, dropout: float = 0.0) -> Pair:
    rank = ring_rank * slice_size
    ring = AdaRing(ring_rank=ring_rank, slice_size=slice_size, dropout=dropout, towers=IMAGE)
    peer = LoRA(rank=rank, alpha=rank**0.5, dropout=dropout, towers=IMAGE)  # a scale of 1
    name = f"r2 = {ring_rank}, r0 = r1 = {slice_size}" + f", dropout {dropout}" * bool(dropout)
    return Pair(name, f"LoRA of rank {rank}", ring, peer)


PAIRS = [
    delta(2, 4),
    delta(4, 4),
    delta(2, 8, dropout=0.25),
    Pair(
        "adapters",
        "per-layer adapters",
        AdaRing(form="adapter", towers=IMAGE),
        FullRank(towers=IMAGE),
    ),
]
MODELS = (("embedded", 32), (B32, 4))  # with images a batch


@torch.no_grad()
def equalise(ring: Trainer, peer: Trainer) -> None:
    """Give the matrices of a ring to its peer."""
    for p in ring.adapter.parameters():
        p.add_(0.1 * torch.randn_like(p))
    bound, values = ring.adapter.bind(), peer.adapter.values()
    for (_, layer, _), site in ring.adapter.wiring.sites.items():
        for name, add in zip("qkv", site.adds, strict=False):
            values[f"image.{layer}.{name}.down"].copy_(bound.get(add.down))
            values[f"image.{layer}.{name}.up"].copy_(bound.get(add.up))
        for call in site.after:
            chain = [bound.get(ref) for ref in call.refs]
            assert isinstance(call.fn, Bottleneck)
            downs = len(call.fn.branches[0].down)
            values[f"image.{layer}.down"].copy_(reduce(torch.matmul, chain[:downs]))
            values[f"image.{layer}.up"].copy_(reduce(torch.matmul, chain[downs:]))


@row("step.ring", "a whole training step of AdaRing; the peer is LoRA of its effective rank")
def cases(quick: bool) -> Iterator[Case]:
    for name, images in MODELS[:1] if quick else MODELS:
        for pair in PAIRS[:1] if quick else PAIRS if name == "embedded" else PAIRS[1:3]:
            ring, peer = (Trainer(m, backbone(name), images, 10) for m in (pair.ring, pair.peer))
            equalise(ring, peer)

            def check(ring: Trainer = ring, peer: Trainer = peer) -> None:
                model, still = ring.net.backbone, AdaRing(form="adapter", towers=IMAGE)
                frozen = Trainer(still, model, len(ring.batch.x), 10)
                frozen.net.adapter = attached(still, model, 10, move=0)
                mine = ring.logits()
                assert not torch.allclose(mine, frozen.logits(), atol=1e-2)
                torch.testing.assert_close(mine, peer.logits(), atol=2e-3, rtol=1e-3)
                torch.testing.assert_close(ring.step(), peer.step(), atol=1e-3, rtol=1e-3)

            title = f"{name}, {images} images, {pair.name}"
            arms = {"ours": ring.step, pair.against: peer.step}
            yield Case(title, arms, check, {pair.against: 0.95}, rounds=9)
