"""A training step that reads what cannot change against one that computes it, on this CPU.

python tests/benchmarks/prefix.py [features] [prefix] [text]

features  a head on kept features; the peer runs open_clip's own frozen towers in each step
prefix    LoRA from block 7 or 10 on, the frozen blocks before it kept; the peer computes them
text      LoRA in the text tower on packed prompts with their common prefix once; the peer is
          open_clip's text tower over all 77 tokens, with the same LoRA written into its weights

Both arms of a pair give the same loss and the same gradients, which is checked first. Numbers are
the peer's processor time over ours on one thread (what else the machine does disturbs it little),
in paired rounds, the two in random order in each.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from harness import backbone as backbones
from harness.backbone import Backbone
from harness.classifier import Classifier
from harness.fit import Batch, build_optimizer, train_step
from harness.spec import BackboneSpec, TrainSpec
from methods import Method, Task
from methods.clip_adapter import CLIPAdapter
from methods.kit.clip import Key
from methods.kit.noise import Noise
from methods.linear_probe import LinearProbe
from methods.lora import LoRA

ROUNDS, WARM = 9, 2
TEMPLATE = "a photo of a {}."
WORDS = ("cat", "magnifying glass", "street sign", "red fox", "grand piano", "airliner", "tench")
NAMES = tuple(f"{word} {i}" for i in range(6) for word in WORDS)[:40]
MODEL = BackboneSpec("ViT-B-32-quickgelu", "random")

Step = Callable[[], float]  # one training step; gives the loss


@dataclass(frozen=True)
class Pair:
    """Two ways to the same step. ``gradients`` of each, after a step."""

    name: str
    ours: Step
    peer: Step
    gradients: Callable[[], list[list[Tensor]]]


class Arm:
    """One method, ready to train on one batch again and again."""

    def __init__(self, method: Method, backbone: Backbone, images: int) -> None:
        torch.manual_seed(0)
        prompts = backbone.prompts(TEMPLATE, NAMES)
        adapter = method.attach(backbone.clip, Task(NAMES, TEMPLATE, prompts.ids))
        for p in adapter.parameters():
            torch.nn.init.normal_(p, std=0.02)
        self.net = Classifier(backbone, adapter, prompts)
        # A rate of 0 keeps both arms of a pair where they are equal, at the cost of a real step.
        self.optimizer = build_optimizer(self.net, TrainSpec(lr=1e-30, weight_decay=0.0))
        pixels = torch.randint(0, 256, (images, 3, 224, 224), dtype=torch.uint8)
        labels = torch.randint(0, len(NAMES), (images,))
        self.batch = Batch(pixels, labels, torch.arange(images))

    def step(self, batch: Batch | None = None) -> float:
        noise = Noise(1, 0)
        return float(train_step(self.net, batch or self.batch, 0.0, noise, self.optimizer)[0])

    def gradients(self) -> list[Tensor]:
        grads = [p.grad for p in self.net.adapter.parameters()]
        return [g for g in grads if g is not None]

    def kept(self) -> Batch:
        """The batch as a plan keeps it."""
        tower, point = self.net.backbone.image, self.net.image_point
        pixels = self.net.backbone.transform.normalise(self.batch.x)
        with torch.no_grad():
            if not self.net.image_trains:
                x = tower(pixels)
            else:
                x = tower.begin(pixels, point).x.unflatten(0, (len(pixels), -1))
        return Batch(x, self.batch.labels, self.batch.rows)


# --- the pairs --------------------------------------------------------------------------------


def features(method: Method, backbone: Backbone) -> Pair:
    """A head on kept features, against open_clip's towers without gradients in each step."""
    ours, peer = (Arm(method, backbone, 32) for _ in range(2))
    peer.batch = ours.batch
    kept = ours.kept()
    tokens = _tokens(backbone)
    pixels = backbone.transform.normalise(ours.batch.x)

    def common() -> float:
        with torch.no_grad():
            image = backbone.model.encode_image(pixels)
            peer.net.frozen_text = backbone.model.encode_text(tokens, normalize=True)
        return peer.step(Batch(image, ours.batch.labels, ours.batch.rows))

    name = f"{type(method).__name__}, 32 images, {len(NAMES)} classes"
    return Pair(name, lambda: ours.step(kept), common, lambda: _grads(ours, peer))


def prefix(first: int, backbone: Backbone) -> Pair:
    """LoRA on q, k, v from a block of the image tower on (counted from 0)."""
    method = LoRA(layers=f"{first + 1}-12", towers=("image",), dropout=0.0)
    ours, peer = (Arm(method, backbone, 8) for _ in range(2))
    peer.batch = ours.batch
    kept = ours.kept()
    name = f"LoRA from block {first} (counted from 0), 8 images"
    return Pair(name, lambda: ours.step(kept), peer.step, lambda: _grads(ours, peer))


def text(backbone: Backbone) -> Pair:
    """LoRA on q, k, v of every block of the text tower; images are given as features."""
    method = LoRA(towers=("text",), dropout=0.0)
    ours, peer = (Arm(method, backbone, 8) for _ in range(2))
    kept = ours.kept()
    tokens = _tokens(backbone)

    def common() -> float:
        bound = peer.net.adapter.bind()
        weights = {}
        for i in range(backbone.text.shape.depth):
            key: Key = ("text", i, "qkv")
            name = f"transformer.resblocks.{i}.attn.in_proj_weight"
            frozen = backbone.clip.weights[f"text.{i}.qkv.weight"]
            weights[name] = bound.folded(key, frozen, None)[0]
        words = torch.func.functional_call(_Text(backbone.model), _named(weights), (tokens,))
        image = F.normalize(kept.x, dim=-1)
        logits = peer.net.scale(bound) * image @ words.T
        loss = F.cross_entropy(logits, kept.labels)
        peer.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        peer.optimizer.step()
        return float(loss.detach())

    name = f"LoRA in the text tower, {len(NAMES)} classes"
    return Pair(name, lambda: ours.step(kept), common, lambda: _grads(ours, peer))


class _Text(torch.nn.Module):
    """open_clip's text tower as a module, so that its weights can be given."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        encoded: Tensor = self.model.encode_text(tokens, normalize=True)  # type: ignore[operator]
        return encoded


def _named(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"model.{name}": weight for name, weight in weights.items()}


def _tokens(backbone: Backbone) -> Tensor:
    return open_clip.get_tokenizer(backbone.name)([TEMPLATE.format(name) for name in NAMES])


def _grads(*arms: Arm) -> list[list[Tensor]]:
    return [arm.gradients() for arm in arms]


# --- how they are measured --------------------------------------------------------------------


def check(pair: Pair) -> None:
    """Both arms must give the same loss and the same gradients."""
    torch.testing.assert_close(pair.ours(), pair.peer(), atol=1e-3, rtol=1e-4)
    mine, theirs = pair.gradients()
    assert len(mine) == len(theirs) > 0
    for one, two in zip(mine, theirs, strict=True):
        scale = float(two.abs().max()) + 1e-9
        torch.testing.assert_close(one / scale, two / scale, atol=2e-3, rtol=0)


def ratios(pair: Pair) -> list[float]:
    """The peer's time over ours, one number a round."""
    found = []
    for i in range(ROUNDS + WARM):
        took = {}
        for name in random.sample(("ours", "peer"), 2):
            began = time.process_time()
            getattr(pair, name)()
            took[name] = time.process_time() - began
        if i >= WARM:
            found.append(took["peer"] / took["ours"])
    return found


def main(rows: list[str]) -> None:
    torch.set_num_threads(1)
    backbone = backbones.load(MODEL)
    made: dict[str, list[Callable[[], Pair]]] = {
        "features": [lambda m=m: features(m, backbone) for m in (LinearProbe(), CLIPAdapter())],  # type: ignore[misc]
        "prefix": [lambda first=first: prefix(first, backbone) for first in (6, 9)],  # type: ignore[misc]
        "text": [lambda: text(backbone)],
    }
    print(f"{MODEL.name}: processor time of a step, peer / ours, quartiles of paired rounds")
    for row in rows or list(made):
        for make in made[row]:
            pair = make()
            check(pair)
            low, middle, high = statistics.quantiles(ratios(pair), n=4)
            print(f"step.{row}, {pair.name}: {low:.2f} {middle:.2f} {high:.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
