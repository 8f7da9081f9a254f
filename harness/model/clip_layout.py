"""Layout of an open_clip model: its tensors under our names, and a refusal of unsupported models.

The only place that knows open_clip's attribute names. Supported are native ViT and native text
towers in flat (`CLIP`) and nested (`CustomTextCLIP`) builds, with plain or custom blocks whose
extra options are off.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from harness.model.activation import gelu_tanh, quick_gelu
from harness.model.open_clip_configs import unsupported
from harness.model.tower_shape import TowerShape
from methods.kit.core.clip import Clip
from methods.kit.core.clip import Tower as TowerView


@dataclass(frozen=True)
class TensorMapping:
    """One tensor of the model: our name, open_clip's state key, and how to convert it."""

    name: str
    key: str
    form: str = "same"  # same | transposed | patches

    def read(self, tensor: Tensor) -> Tensor:
        if self.form == "transposed":
            return tensor.mT
        return tensor.flatten(1) if self.form == "patches" else tensor

    def write(self, value: Tensor, like: Tensor) -> Tensor:
        return (value.mT if self.form == "transposed" else value).reshape(like.shape).contiguous()


@dataclass(frozen=True)
class ClipLayout:
    """An open_clip model in our terms."""

    clip: Clip
    image: TowerShape
    text: TowerShape
    mappings: tuple[TensorMapping, ...]


BLOCK_TENSORS = (
    ("ln_1", "ln_1.weight", "ln_1.bias"),
    ("qkv", "attn.in_proj_weight", "attn.in_proj_bias"),
    ("out_proj", "attn.out_proj.weight", "attn.out_proj.bias"),
    ("ls_1", "ls_1.gamma", None),
    ("ln_2", "ln_2.weight", "ln_2.bias"),
    ("fc", "mlp.c_fc.weight", "mlp.c_fc.bias"),
    ("proj", "mlp.c_proj.weight", "mlp.c_proj.bias"),
    ("ls_2", "ls_2.gamma", None),
)


def read_layout(model: nn.Module, name: str) -> ClipLayout:
    """Return the layout of a model; ``name`` is used in refusals.

    Raises UsageError, in one line, for a model whose numbers would not be reproduced.
    """
    for obstacle in _obstacles(model):
        raise unsupported(name, obstacle)
    visual: Any = model.visual
    text: Any = getattr(model, "text", model)
    prefix = "text." if text is not model else ""
    state = dict(model.named_parameters())
    mappings = [m for m in _mappings(visual, text, prefix) if m.key in state]
    rest = sorted(set(state) - {m.key for m in mappings} - {"logit_bias"})
    if rest:
        raise unsupported(name, f"it has the part {rest[0]!r}")
    weights = {m.name: m.read(state[m.key].detach()) for m in mappings}
    image, words = _image_shape(visual, name), _text_shape(model, text, name)
    clip = Clip(_view(image), _view(words), int(visual.proj.shape[1]), weights)
    return ClipLayout(clip, image, words, tuple(mappings))


def _obstacles(model: nn.Module) -> Iterator[str]:
    """Reasons why the numbers of a model would not be reproduced; later ones assume no earlier."""
    visual: Any = getattr(model, "visual", None)
    text: Any = getattr(model, "text", model)
    if type(visual).__name__ != "VisionTransformer":
        yield f"its image tower is a {type(visual).__name__}, not a native ViT"
    if type(getattr(text, "transformer", None)).__name__ != "Transformer":
        yield f"its text tower is a {type(text).__name__}, not a native one"
    if hasattr(model, "text_decoder"):
        yield "it is a captioning model (CoCa)"
    if visual.attn_pool is not None:
        yield "its image tower pools by attention"
    if visual.pool_type not in ("tok", "avg"):
        yield f"its image tower pools by {visual.pool_type!r}"
    if getattr(text, "cls_emb", None) is not None:
        yield "its text tower appends a class token"
    if getattr(text, "use_pad_mask", False):
        yield "its text tower masks padding"
    for tower, blocks in (("image", visual.transformer), ("text", text.transformer)):
        if not len(blocks.resblocks):
            yield f"its {tower} tower has no blocks"
        for block in blocks.resblocks:
            yield from _block_obstacles(block, tower)


def _block_obstacles(block: Any, tower: str) -> Iterator[str]:
    kind = type(block).__name__
    if kind not in ("ResidualAttentionBlock", "CustomResidualAttentionBlock"):
        yield f"its {tower} tower is built of {kind}"
    attn = block.attn
    options = {
        "scaled cosine attention": getattr(attn, "logit_scale", None) is not None,
        "head scales": getattr(attn, "head_scale", None) is not None,
        "query-key norms": isinstance(getattr(attn, "ln_q", None), nn.LayerNorm),
        "a norm inside attention": isinstance(getattr(attn, "ln_inner", None), nn.LayerNorm),
        "a norm behind attention": isinstance(getattr(block, "ln_attn", None), nn.LayerNorm),
        "a norm inside the MLP": isinstance(getattr(block.mlp, "ln", None), nn.LayerNorm),
    }
    yield from (f"its {tower} blocks use {option}" for option, on in options.items() if on)


def _mappings(visual: Any, text: Any, prefix: str) -> list[TensorMapping]:
    names = [
        ("image.patches.weight", "visual.conv1.weight", "patches"),
        ("image.class_token.weight", "visual.class_embedding"),
        ("image.positions.weight", "visual.positional_embedding"),
        ("image.ln_pre.weight", "visual.ln_pre.weight"),
        ("image.ln_pre.bias", "visual.ln_pre.bias"),
        *_block_names("image", "visual.transformer.resblocks", visual.transformer),
        ("image.ln_post.weight", "visual.ln_post.weight"),
        ("image.ln_post.bias", "visual.ln_post.bias"),
        ("image.project.weight", "visual.proj", "transposed"),
        ("text.words.weight", f"{prefix}token_embedding.weight"),
        ("text.positions.weight", f"{prefix}positional_embedding"),
        *_block_names("text", f"{prefix}transformer.resblocks", text.transformer),
        ("text.ln_post.weight", f"{prefix}ln_final.weight"),
        ("text.ln_post.bias", f"{prefix}ln_final.bias"),
    ]
    if isinstance(text.text_projection, nn.Linear):
        names.append(("text.project.weight", f"{prefix}text_projection.weight"))
        names.append(("text.project.bias", f"{prefix}text_projection.bias"))
    else:
        names.append(("text.project.weight", f"{prefix}text_projection", "transposed"))
    names.append(("shared.scale.weight", "logit_scale"))
    return [TensorMapping(*each) for each in names]


def _block_names(tower: str, path: str, transformer: Any) -> list[tuple[str, ...]]:
    return [
        (f"{tower}.{i}.{site}.{part}", f"{path}.{i}.{key}")
        for i in range(len(transformer.resblocks))
        for site, weight, bias in BLOCK_TENSORS
        for part, key in (("weight", weight), ("bias", bias))
        if key
    ]


def _image_shape(visual: Any, name: str) -> TowerShape:
    return TowerShape(
        name="image",
        length=visual.positional_embedding.shape[0],
        pool="first" if visual.pool_type == "tok" else "mean",
        norm_before_pool=not visual.final_ln_after_pool,
        patch=tuple(visual.patch_size),
        image_size=tuple(visual.image_size),
        **_common_shape(visual.transformer, visual.ln_post, name),
    )


def _text_shape(model: Any, text: Any, name: str) -> TowerShape:
    pool = getattr(text, "pool_type", None) or model.text_pool_type
    if pool not in ("first", "last", "argmax", "eos"):
        raise unsupported(name, f"its text tower pools by {pool!r}")
    return TowerShape(
        name="text",
        length=text.positional_embedding.shape[0],
        pool=pool,
        causal=text.attn_mask is not None,
        eos=text.eos_id if text is not model else model.text_eos_id,
        **_common_shape(text.transformer, text.ln_final, name),
    )


def _common_shape(transformer: Any, norm: nn.LayerNorm, name: str) -> dict[str, Any]:
    first = transformer.resblocks[0]
    return {
        "depth": len(transformer.resblocks),
        "width": transformer.width,
        "heads": first.attn.num_heads,
        "hidden": first.mlp.c_fc.out_features,
        "activation": _activation(first.mlp.gelu, name),
        "eps": norm.eps,
    }


def _activation(module: nn.Module, name: str) -> Callable[[Tensor], Tensor]:
    if type(module).__name__ == "QuickGELU":
        return quick_gelu
    if isinstance(module, nn.GELU):
        return F.gelu if module.approximate == "none" else gelu_tanh
    raise unsupported(name, f"its activation is {type(module).__name__}")


def _view(shape: TowerShape) -> TowerView:
    return TowerView(shape.name, shape.depth, shape.width, shape.heads, shape.hidden, shape.length)
