"""step.vision: LoRA in the image tower, forward and backward, against every usual way to run it."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from methods.kit.contract.adapter import Adapter
from methods.lora import LoRA
from tests.benchmarks import device, peers
from tests.benchmarks.measure import Case
from tests.benchmarks.ours import B16, B32, attached, backbone, pixels, same
from tests.benchmarks.peers import PackedLoRA
from tests.benchmarks.registry import row

RANK = 4
GOALS = {  # the second set is for ViT-B/16, where attention has a larger share
    B32: {"peft on attn": 1.25, "CLIP-LoRA's order": 1.45, "full": 1.3, "frozen": 1.3},
    B16: {"peft on attn": 1.15, "CLIP-LoRA's order": 1.25, "full": 1.3, "frozen": 1.3},
}


class Pass:
    """Forward and backward through an image tower, from the same pixels to the same gradient."""

    def __init__(self, encode: Callable[[Tensor], Tensor], x: Tensor, params: list[Any]) -> None:
        self.encode, self.x, self.params = encode, x, params
        self.toward = torch.randn(1, generator=torch.Generator().manual_seed(1)).to(x.device)
        self.features = torch.empty(0)

    def __call__(self) -> None:
        for p in self.params:
            p.grad = None
        self.features = self.encode(self.x)
        (self.features * self.toward).sum().backward()


def ours(adapter: Adapter, x: Tensor, name: str) -> Pass:
    tower = backbone(name).image
    return Pass(lambda seen: tower(seen, adapter.bind()), x, list(adapter.parameters()))


def theirs(model: Any, x: Tensor) -> Pass:
    return Pass(model.encode_image, x, peers.trained(model))


@row("step.vision", "LoRA of rank 4 in all 12 blocks of the image tower, forward and backward")
def cases(quick: bool) -> Iterator[Case]:
    for name, short, few in ((B32, "ViT-B/32", 4), (B16, "ViT-B/16", 2)):
        if quick and name == B16:
            return
        images = device.images(few)
        title = f"{short}, {images} images"
        x = backbone(name).transform.normalise(pixels(backbone(name), images))
        yield _peft(name, title, x)
        yield _split(name, title, x)


def _peft(name: str, title: str, x: Tensor) -> Case:
    adapter = attached(PackedLoRA(RANK, towers=("image",)), backbone(name), 2)
    model: Any = peers.peft_lora(backbone(name).model, RANK)
    peers.give_peft(adapter, model)
    mine, other = ours(adapter, x, name), theirs(model, x)
    other.params = [p for path in peers.peft_paths(adapter, model) for p in (path.a, path.b)]

    def check() -> None:
        mine()
        other()
        torch.testing.assert_close(mine.features, other.features, atol=1e-4, rtol=1e-4)
        for path in peers.peft_paths(adapter, model):
            assert path.a.grad is not None
            same([path.up.grad, path.down.grad], [path.b.grad, path.a.grad * path.times])

    goals = {"peft on attn": GOALS[name]["peft on attn"]}
    return Case(
        f"{title}, q k v packed and out", {"ours": mine, "peft on attn": other}, check, goals
    )


def _split(name: str, title: str, x: Tensor) -> Case:
    adapter = attached(LoRA(RANK, dropout=0.0, towers=("image",)), backbone(name), 2)
    scale = LoRA(RANK).scale
    split: Any = peers.split_lora(backbone(name).model, RANK, scale)
    peers.give_split(adapter, split)
    mine, other = ours(adapter, x, name), theirs(split, x)
    frozen = Pass(backbone(name).model.encode_image, x.clone().requires_grad_(), [])  # type: ignore[operator]
    frozen.params = [frozen.x]

    def check() -> None:
        mine()
        other()
        torch.testing.assert_close(mine.features, other.features, atol=1e-4, rtol=1e-4)
        values, blocks = adapter.values(), split.visual.transformer.resblocks
        for i, block in enumerate(blocks):
            for q in "qkv":
                low: Any = getattr(block.attn, q)
                pairs = (
                    (values[f"image.{i}.{q}.down"], low.a),
                    (values[f"image.{i}.{q}.up"], low.b),
                )
                for one, two in pairs:
                    same([one.grad], [two.grad])

    whole = theirs(peers.full(backbone(name).model), x)
    arms = {"ours": mine, "CLIP-LoRA's order": other, "full": whole, "frozen": frozen}
    goals = {k: v for k, v in GOALS[name].items() if k in arms}
    return Case(f"{title}, q, k, v", arms, check, goals, warm=1)
