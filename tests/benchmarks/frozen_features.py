"""step.features, step.prefix: steps that read what cannot change against steps that compute it."""

from collections.abc import Iterator

import torch
from torch import Tensor

from harness.train.batches import Batch
from methods.clip_adapter import CLIPAdapter
from methods.kit import Method
from methods.linear_probe import LinearProbe
from methods.lora import LoRA
from tests.benchmarks.measure import Arm, Case
from tests.benchmarks.ours import B32, Trainer, backbone, same, tokens
from tests.benchmarks.registry import row

CLASSES = 40


@row("step.features", "a head on kept features; the peer runs open_clip's frozen towers each step")
def features(quick: bool) -> Iterator[Case]:
    model = backbone(B32)
    ids, encode_image = tokens(model, CLASSES), model.model.encode_image
    encode_text = model.model.encode_text
    heads: tuple[Method, ...] = (CLIPAdapter(), LinearProbe())
    for method in heads[:1] if quick else heads:
        ours, peer = (Trainer(method, model, 8, CLASSES) for _ in range(2))
        kept, x = ours.kept(), model.transform.normalise(ours.batch.x)

        def common(peer: Trainer = peer, x: Tensor = x) -> float:
            with torch.no_grad():
                image = encode_image(x)  # type: ignore[operator]
                words = encode_text(ids, normalize=True)  # type: ignore[operator]
            peer.net.frozen_text = words
            return peer.step(Batch(image, peer.batch.labels, peer.batch.rows))

        arms = {"ours": lambda ours=ours, kept=kept: ours.step(kept), "open_clip each step": common}  # type: ignore[misc]
        name = f"{type(method).__name__}, ViT-B/32, 8 images, {CLASSES} classes"
        check = equal(ours, peer, *arms.values())
        yield Case(name, arms, check, {"open_clip each step": 100}, warm=1)


@row("step.prefix", "LoRA in the upper blocks, those below kept; the peer computes them each step")
def prefix(quick: bool) -> Iterator[Case]:
    for first, goal in ((6, 1.35), (9, 2.2)):
        method = LoRA(layers=f"{first + 1}-12", towers=("image",), dropout=0.0)
        ours, peer = (Trainer(method, backbone(B32), 8, CLASSES) for _ in range(2))
        kept = ours.kept()
        name = f"ViT-B/32, LoRA from block {first} of 12 on (counted from 0), 8 images"
        arms = {"ours": lambda ours=ours, kept=kept: ours.step(kept), "recomputed": peer.step}  # type: ignore[misc]
        check = equal(ours, peer, *arms.values())
        yield Case(name, arms, check, {"recomputed": goal})


def equal(ours: Trainer, peer: Trainer, mine: Arm, theirs: Arm) -> Arm:
    """Whether two arms give the same loss and the same gradients."""

    def check() -> None:
        torch.testing.assert_close(mine(), theirs(), atol=1e-3, rtol=1e-4)
        same(ours.gradients(), peer.gradients())

    return check
