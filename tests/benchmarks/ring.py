"""A training step of AdaRing against LoRA and dense adapters that compute the same, on this CPU.

python tests/benchmarks/ring.py

A ring's matrices are made once a step, for all layers, and then run as the kernels of its peers do:
updates of weights as a LoRA of rank r2 min(r0, r1), adapters as per-layer adapters of the same
bottleneck. Both arms start from equal numbers, so their logits and losses must be equal too.
"""

import random
import statistics
import time
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from harness import backbone as backbones
from harness.backbone import Backbone
from harness.classifier import Classifier
from harness.fit import Batch, build_optimizer, train_step
from harness.spec import BackboneSpec, TrainSpec
from methods import Method, Task
from methods.adaring import AdaRing
from methods.full_rank import FullRank
from methods.kit.adapter import Adapter
from methods.kit.bottleneck import Bottleneck
from methods.kit.fields import TowerName
from methods.kit.noise import Noise
from methods.lora import LoRA

ROUNDS = 15
NAMES = tuple(f"class {i}" for i in range(10))
IMAGE: tuple[TowerName, ...] = ("image",)


@dataclass(frozen=True)
class Pair:
    """AdaRing and a peer of its effective rank."""

    name: str
    ring: AdaRing
    peer: Method


def delta(ring_rank: int, slice_size: int, dropout: float = 0.0) -> Pair:
    rank = ring_rank * slice_size
    ring = AdaRing(ring_rank=ring_rank, slice_size=slice_size, dropout=dropout, towers=IMAGE)
    peer = LoRA(rank=rank, alpha=rank**0.5, dropout=dropout, towers=IMAGE)  # a scale of 1
    name = f"updates of q, k, v / LoRA of rank {rank}" + f", dropout {dropout}" * bool(dropout)
    return Pair(name, ring, peer)


PAIRS = [
    delta(2, 4),
    delta(4, 4),
    delta(2, 8, dropout=0.25),
    Pair(
        "adapters / per-layer adapters",
        AdaRing(form="adapter", towers=IMAGE),
        FullRank(towers=IMAGE),
    ),
]
MODELS = [("embedded", "", 32), ("ViT-B-32-quickgelu", "random", 8)]  # with images a batch


class Arm:
    """One method, ready to train on one batch again and again."""

    def __init__(self, method: Method, backbone: Backbone, batch: Batch) -> None:
        torch.manual_seed(0)
        prompts = backbone.prompts("a photo of a {}.", NAMES)
        adapter = method.attach(backbone.clip, Task(NAMES, "a photo of a {}.", prompts.ids))
        self.net = Classifier(backbone, adapter, prompts)
        self.optimizer = build_optimizer(self.net, TrainSpec(lr=1e-5, weight_decay=0.0))
        self.batch = batch

    @property
    def adapter(self) -> Adapter:
        return self.net.adapter

    def logits(self) -> Tensor:
        with torch.no_grad():
            return self.net(self.batch.x, self.adapter.bind()).logits

    def step(self) -> float:
        return float(train_step(self.net, self.batch, 0.0, Noise(1, 0), self.optimizer)[0])


@torch.no_grad()
def equalise(ring: Arm, peer: Arm) -> None:
    """Move the ring from its start, and give its matrices to the peer."""
    for p in ring.adapter.parameters():
        p.add_(0.1 * torch.randn(p.shape))
    bound, values = ring.adapter.bind(), peer.adapter.values()
    for (_, layer, _), hung in ring.adapter.rig.sites.items():
        for name, add in zip("qkv", hung.adds, strict=False):
            values[f"image.{layer}.{name}.down"].copy_(bound._get(add.down))
            values[f"image.{layer}.{name}.up"].copy_(bound._get(add.up))
        for call in hung.after:
            chain = [bound._get(ref) for ref in call.refs]
            assert isinstance(call.fn, Bottleneck)
            downs = call.fn.layout[0][0]
            values[f"image.{layer}.down"].copy_(reduce(torch.matmul, chain[:downs]))
            values[f"image.{layer}.up"].copy_(reduce(torch.matmul, chain[downs:]))


def ratios(pair: Pair, backbone: Backbone, batch: Batch) -> list[float]:
    """AdaRing's time over its peer's, one number a round, the two in random order in each."""
    arms = {"ring": Arm(pair.ring, backbone, batch), "peer": Arm(pair.peer, backbone, batch)}
    equalise(arms["ring"], arms["peer"])
    frozen = Arm(AdaRing(form="adapter", towers=IMAGE), backbone, batch).logits()
    one, two = arms["ring"].logits(), arms["peer"].logits()
    assert not torch.allclose(one, frozen, atol=1e-2)
    torch.testing.assert_close(one, two, atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(arms["ring"].step(), arms["peer"].step(), atol=1e-3, rtol=1e-3)
    found = []
    for i in range(ROUNDS + 2):
        took = {}
        for name in random.sample(sorted(arms), 2):
            began = time.perf_counter()
            arms[name].step()
            took[name] = time.perf_counter() - began
        if i >= 2:  # two rounds warm up
            found.append(took["ring"] / took["peer"])
    return found


def main() -> None:
    torch.set_num_threads(1)
    print("time of a step, AdaRing / peer (below 1: AdaRing is faster); quartiles of paired rounds")
    for name, weights, images in MODELS:
        backbone = backbones.load(BackboneSpec(name, weights))
        size = backbone.image.shape.image_size
        pixels = torch.randint(0, 256, (images, 3, *size), dtype=torch.uint8)
        batch = Batch(pixels, torch.arange(images) % len(NAMES), torch.arange(images))
        for pair in PAIRS:
            low, middle, high = statistics.quantiles(ratios(pair, backbone, batch), n=4)
            print(f"{name}, {pair.name}: {low:.3f} {middle:.3f} {high:.3f}", flush=True)


if __name__ == "__main__":
    main()
