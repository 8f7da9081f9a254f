"""Frozen CLIP models, built with open_clip's factory and never changed.

Weights come from the package (``embedded``), a safetensors file, an open_clip tag, or a seeded
random initialization. The network is used only for a tag whose weights are not on disk.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from PIL import Image
from torch import nn

from harness.data.transform import Transform
from harness.model.clip_layout import ClipLayout, TensorMapping, read_layout
from harness.model.open_clip_configs import build_model, model_config
from harness.model.open_clip_library import open_clip
from harness.model.prompt_packing import Prompts
from harness.model.tokenizer import Tokenizer, load_tokenizer
from harness.model.tower import Tower
from harness.model.weights import check_quick_gelu, find_weights, load_weights, weights_digest
from harness.spec.spec import BackboneSpec
from methods.kit.core.clip import Clip
from methods.kit.core.errors import UsageError

RANDOM_SEED = 0  # 'random' means the same weights everywhere


@dataclass(frozen=True)
class Backbone:
    """A frozen CLIP model: its towers, what methods see of it, and how inputs are made."""

    name: str
    model: nn.Module
    clip: Clip
    image: Tower
    text: Tower
    mappings: tuple[TensorMapping, ...]
    transform: Transform
    tokenizer: Tokenizer
    context: int
    digest: str
    precision: str
    device: torch.device

    def prompts(self, template: str | Sequence[str], classnames: Sequence[str]) -> Prompts:
        """Return tokenised prompts; those of further templates are in ``more``.

        Raises UsageError for a text longer than the context.
        """
        if not isinstance(template, str):
            first, *others = (self.prompts(one, classnames) for one in template)
            return replace(first, more=tuple(others))
        texts = [template.replace("{}", name.replace("_", " ")) for name in classnames]
        rows = self.tokenizer(texts)
        tokens = torch.zeros(len(rows), self.context, dtype=torch.long)
        for i, (text, row) in enumerate(zip(texts, rows, strict=True)):
            if len(row) > self.context:
                shown = shorten(text, 80, placeholder=" ...")
                raise UsageError(
                    f"the prompt {shown!r} has {len(row)} tokens, {self.name} reads {self.context};"
                    " shorten the template or the class name"
                )
            tokens[i, : len(row)] = torch.tensor(row)
        return self.text.prompts(tokens).to(self.device)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """bf16 autocast if the spec asks for it; adapter parameters stay fp32."""
        on = self.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=on):
            yield


def load_backbone(spec: BackboneSpec, device: torch.device | str = "cpu") -> Backbone:
    """Return the backbone of a spec, built once per process.

    Raises UsageError for unknown names and unavailable or unfitting weights.
    """
    weights, stamp = spec.pretrained, 0
    if weights and Path(weights).is_file():
        weights = str(Path(weights).resolve())
        stamp = Path(weights).stat().st_mtime_ns  # a file that was rewritten is another one
    return _cached_backbone(spec.name, weights, spec.precision, str(device), stamp)


@lru_cache(maxsize=4)
def _cached_backbone(
    name: str, pretrained: str, precision: str, device: str, stamp: int = 0
) -> Backbone:
    config, source = model_config(name), find_weights(name, pretrained)
    check_quick_gelu(name, config, source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        model = build_model(name, config)
    if source.file is not None:
        load_weights(model, source.file, name)
    model.eval().requires_grad_(False).to(device)
    layout = read_layout(model, name)
    return Backbone(
        name=name,
        model=model,
        clip=layout.clip,
        image=Tower(layout.image, layout.clip.weights),
        text=Tower(layout.text, layout.clip.weights),
        mappings=layout.mappings,
        transform=_transform(layout.image.image_size, source.preprocess),
        tokenizer=load_tokenizer(name, config),
        context=layout.text.length,
        digest=weights_digest(config, layout.clip.weights),
        precision=precision,
        device=torch.device(device),
    )


def backbone_outline(name: str) -> ClipLayout:
    """Return the layout of a model without weights (on the meta device), for counting."""
    with torch.device("meta"):
        return read_layout(build_model(name, model_config(name)).requires_grad_(False), name)


def _transform(size: tuple[int, int], preprocess: dict[str, Any]) -> Transform:
    known = {k: v for k, v in preprocess.items() if k in ("mean", "std", "interpolation")}
    known["resize_mode"] = preprocess.get("resize_mode", "shortest")
    *crop, _, _, normalise = open_clip.image_transform(size, is_train=False, **known).transforms
    mode = f"{known['resize_mode']}-{known.get('interpolation', 'bicubic')}"
    mean, std = tuple(normalise.mean), tuple(normalise.std)
    return Transform(partial(_apply, tuple(crop)), size, mean, std, mode)


def _apply(steps: Sequence[Callable[[Any], Any]], image: Image.Image) -> Image.Image:
    for step in steps:
        image = step(image)
    return image
