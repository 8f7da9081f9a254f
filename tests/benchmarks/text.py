"""step.text: LoRA in the text tower on packed prompts against open_clip's tower over 77 tokens."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.kit.core.clip import Key
from methods.lora import LoRA
from tests.benchmarks import peers
from tests.benchmarks.measure import Case
from tests.benchmarks.ours import B32, TEMPLATE, attached, backbone, names, same, tokens
from tests.benchmarks.registry import row

CLASSES, RANK, NEAR = 40, 4, 2e-5


class _Text(torch.nn.Module):
    """open_clip's text tower as a module, so that its weights can be given."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        encoded: Tensor = self.model.encode_text(ids, normalize=True)
        return encoded


@row("step.text", "LoRA in all 12 blocks of the text tower, 40 prompts, forward and backward")
def cases(quick: bool) -> Iterator[Case]:
    model = backbone(B32)
    method = LoRA(RANK, towers=("text",), dropout=0.0)
    adapter, twin = (attached(method, model, CLASSES) for _ in range(2))
    split: Any = peers.split_lora(model.model, RANK, method.scale)
    peers.give_split(adapter, split)
    prompts, ids = model.prompts(TEMPLATE, names(CLASSES)), tokens(model, CLASSES)
    rng = torch.Generator().manual_seed(1)
    toward = torch.randn(model.clip.dim, generator=rng).to(model.device)
    text = _Text(model.model)
    facts: dict[str, Any] = {}

    def back(features: Tensor, params: list[Any]) -> Tensor:
        for p in params:
            p.grad = None
        (features * toward).sum().backward()
        return features.detach()

    def ours() -> Tensor:
        features = F.normalize(model.text(prompts, adapter.bind()), dim=-1)
        return back(features, list(adapter.parameters()))

    def merged() -> Tensor:
        """The same LoRA written into open_clip's weights."""
        bound, weights = twin.bind(), {}
        for i in range(model.text.shape.depth):
            key: Key = ("text", i, "qkv")
            frozen = model.clip.weights[f"text.{i}.qkv.weight"]
            name = f"model.transformer.resblocks.{i}.attn.in_proj_weight"
            weights[name] = bound.folded(key, frozen, None)[0]
        return back(torch.func.functional_call(text, weights, (ids,)), list(twin.parameters()))

    def order() -> Tensor:
        return back(split.encode_text(ids, normalize=True), peers.trained(split))

    def check() -> None:
        mine = ours()
        for theirs in (merged(), order()):
            far = float((mine - theirs).abs().max())
            assert far <= NEAR, far
            facts["largest difference"] = max(far, facts.get("largest difference", 0.0))
        same([p.grad for p in adapter.parameters()], [p.grad for p in twin.parameters()])

    arms = {"ours": ours, "open_clip, merged": merged, "CLIP-LoRA's order": order}
    goals = {"open_clip, merged": 10, "CLIP-LoRA's order": 10}
    yield Case(f"ViT-B/32, {CLASSES} prompts", arms, check, goals, warm=1, facts=facts)
