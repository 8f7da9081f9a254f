"""What we are compared with: the ways in which LoRA on CLIP is usually run.

All of them run open_clip's own towers. Written from what is known of the peers, without their code;
peft is the real library.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from methods.kit.contract.adapter import Adapter
from methods.kit.contract.method import Method, Task
from methods.kit.core.clip import Clip
from methods.kit.core.field_types import BOTH_TOWERS, TowerName
from methods.kit.parts import low_rank


@dataclass(frozen=True)
class PackedLoRA(Method):
    """LoRA as peft lays it out on attention: one pair for the packed q, k, v, one for the output.

    The same parameters as peft's, so that both can be given equal numbers.
    """

    rank: int = 4
    layers: str = "all"
    towers: tuple[TowerName, ...] = BOTH_TOWERS

    def attach(self, clip: Clip, task: Task) -> Adapter:
        adapter = Adapter(clip)
        for block in clip.blocks(self.towers, self.layers):
            for name in ("qkv", "out_proj"):
                site = block.site(name)
                adapter.add(
                    site, *low_rank.own_factors(adapter, f"{block.key}.{name}", site, self.rank)
                )
        return adapter


class Low(nn.Module):
    """W x + scale * dropout(x) (B A)^T: the update as a whole matrix in each step."""

    def __init__(self, weight: Tensor, bias: Tensor, rank: int, scale: float, drop: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
        self.a = nn.Parameter(torch.empty(rank, weight.shape[1], device=weight.device))
        self.b = nn.Parameter(torch.zeros(weight.shape[0], rank, device=weight.device))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)
        self.scale, self.drop = scale, drop

    def forward(self, x: Tensor) -> Tensor:
        seen = F.dropout(x, self.drop, self.training) if self.drop else x
        return F.linear(x, self.weight, self.bias) + seen @ (self.b @ self.a).T * self.scale


class SplitAttention(nn.Module):
    """Attention with q, k and v projected apart, each with a LoRA (the order of CLIP-LoRA)."""

    def __init__(self, attn: nn.MultiheadAttention, rank: int, scale: float, drop: float) -> None:
        super().__init__()
        self.heads = attn.num_heads
        weights, biases = (t.detach().chunk(3) for t in (attn.in_proj_weight, attn.in_proj_bias))
        self.q, self.k, self.v = (
            Low(w, b, rank, scale, drop) for w, b in zip(weights, biases, strict=True)
        )
        self.out = attn.out_proj

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, **rest: Any
    ) -> tuple[Tensor]:
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part, x in ((self.q, q), (self.k, k), (self.v, v))
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask)
        return (self.out(y.transpose(1, 2).flatten(2)),)


def split_lora(model: nn.Module, rank: int, scale: float = 1.0, drop: float = 0.0) -> nn.Module:
    """A copy of an open_clip model, frozen, with :class:`SplitAttention` in every block."""
    model = copy.deepcopy(model).requires_grad_(False)
    for block in blocks_of(model):
        block.attn = SplitAttention(block.attn, rank, scale, drop)  # type: ignore[assignment]
    return model


def peft_lora(model: nn.Module, rank: int, scale: float = 1.0, drop: float = 0.0) -> nn.Module:
    """A copy of an open_clip model under peft's LoRA on every attention."""
    config = LoraConfig(r=rank, lora_alpha=scale * rank, lora_dropout=drop, target_modules=["attn"])
    return get_peft_model(copy.deepcopy(model), config).base_model.model


def full(model: nn.Module) -> nn.Module:
    """A copy of an open_clip model of which everything trains."""
    return copy.deepcopy(model).requires_grad_(True)


def blocks_of(model: Any) -> Iterator[Any]:
    """Every block of both towers, the image tower's first."""
    for tower in (model.visual, getattr(model, "text", model)):
        yield from tower.transformer.resblocks


def trained(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


# --- equal numbers ---------------------------------------------------------------------------


@torch.no_grad()
def give_split(adapter: Adapter, model: Any) -> None:
    """The factors of a ``lora`` adapter on q, k and v to :func:`split_lora` of its model."""
    values = adapter.values()
    for key, block in _keyed(model):
        for name in "qkv":
            low: Low = getattr(block.attn, name)
            if f"{key}.{name}.down" in values:
                low.a.copy_(values[f"{key}.{name}.down"])
                low.b.copy_(values[f"{key}.{name}.up"])


@torch.no_grad()
def give_peft(adapter: Adapter, model: Any) -> None:
    """The factors of a :class:`PackedLoRA` to :func:`peft_lora` of its model."""
    for path in peft_paths(adapter, model):
        path.a.copy_(path.down)
        path.b.copy_(path.up / path.times)


@dataclass(frozen=True)
class PeftPath:
    """One low-rank path, ours and peft's. ``times`` peft adds it in its forward pass: 0.21 merges
    the output projection's twice."""

    down: Tensor
    up: Tensor
    a: nn.Parameter
    b: nn.Parameter
    times: int


def peft_paths(adapter: Adapter, model: Any) -> Iterator[PeftPath]:
    """The paths of a :class:`PackedLoRA` beside those of :func:`peft_lora`."""
    values = adapter.values()
    for key, block in _keyed(model):
        out = block.attn.base_layer.out_proj
        for name, layer, times in (("qkv", block.attn, 1), ("out_proj", out, 2)):
            if f"{key}.{name}.down" in values:
                down, up = values[f"{key}.{name}.down"], values[f"{key}.{name}.up"]
                a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
                yield PeftPath(down, up, a, b, times)


def _keyed(model: Any) -> Iterator[tuple[str, Any]]:
    image, text = model.visual.transformer.resblocks, getattr(model, "text", model).transformer
    for tower, blocks in (("image", image), ("text", text.resblocks)):
        for i, block in enumerate(blocks):
            yield f"{tower}.{i}", block
