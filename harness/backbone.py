"""Builds a CLIP model with open_clip's factory and reads it; the model is never changed.

Weights come from the package (``embedded``), a safetensors file, an open_clip tag, or a seeded
random start. The network is asked only for a tag whose weights are not on disk.
"""

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from harness import anatomy, lean
from harness.spec import BackboneSpec
from harness.tower import Prompts, Tower
from methods.kit.clip import Clip
from methods.kit.errors import UsageError, unknown

with lean.without("transformers"):
    import open_clip

EMBEDDED = "embedded"
RANDOM = "random"
RANDOM_SEED = 0  # 'random' means the same weights everywhere

Tokenizer = Callable[[list[str]], list[list[int]]]


@dataclass(frozen=True)
class Transform:
    """From an image to pixels: open_clip's own preprocessing, up to the last rounding to uint8."""

    crop: Callable[[Image.Image], Image.Image]
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: str

    def pixels(self, image: Image.Image) -> np.ndarray:
        """uint8 (height, width, 3) at the model's size."""
        return np.array(self.crop(image.convert("RGB")), dtype=np.uint8)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 (n, 3, h, w) to what the tower takes."""
        return (pixels.float() - _channels(self.mean, pixels.device)) / _channels(
            self.std, pixels.device
        )

    def digest(self) -> str:
        text = json.dumps([self.size, self.mean, self.std, self.mode])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(maxsize=16)
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """A number a channel of uint8 pixels, moved to the device once: a step must not wait for it."""
    return torch.tensor(values, device=device).view(1, 3, 1, 1) * 255


@dataclass(frozen=True)
class Backbone:
    """A frozen CLIP model: towers to run, what methods see of it, and how inputs are made."""

    name: str
    model: nn.Module
    clip: Clip
    image: Tower
    text: Tower
    pieces: tuple[anatomy.Piece, ...]
    transform: Transform
    tokenizer: Tokenizer
    context: int
    digest: str
    precision: str
    device: torch.device

    def prompts(self, template: str | Sequence[str], classnames: Sequence[str]) -> Prompts:
        """Tokenised prompts, of several templates one after another in ``more``.

        Raises UsageError for a text longer than the context.
        """
        if not isinstance(template, str):
            first, *others = (self.prompts(one, classnames) for one in template)
            return replace(first, more=tuple(others))
        texts = [template.replace("{}", name.replace("_", " ")) for name in classnames]
        rows = self.tokenizer(texts)
        for text, row in zip(texts, rows, strict=True):
            if len(row) > self.context:
                shown = shorten(text, 80, placeholder=" ...")
                raise UsageError(
                    f"the prompt {shown!r} has {len(row)} tokens, {self.name} reads {self.context};"
                    " shorten the template or the class name"
                )
        tokens = torch.zeros(len(rows), self.context, dtype=torch.long)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = torch.tensor(row)
        return self.text.prompts(tokens).to(self.device)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """bf16 autocast when the spec asks for it; cores and adapters stay fp32."""
        on = self.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=on):
            yield


def load(spec: BackboneSpec, device: torch.device | str = "cpu") -> Backbone:
    """The backbone of a spec, built once a process. Raises UsageError for what cannot be had."""
    weights, stamp = spec.pretrained, 0
    if weights and Path(weights).is_file():
        weights = str(Path(weights).resolve())
        stamp = Path(weights).stat().st_mtime_ns  # a file that was written again is another one
    return _load(spec.name, weights, spec.precision, str(device), stamp)


@lru_cache(maxsize=4)
def _load(name: str, pretrained: str, precision: str, device: str, stamp: int = 0) -> Backbone:
    config, source = model_config(name), _source(name, pretrained)
    check_quick_gelu(name, config, source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        model = build(name, config)
    if source.file is not None:
        _fill(model, source.file, name)
    model.eval().requires_grad_(False).to(device)
    parts = anatomy.read(model, name)
    return Backbone(
        name=name,
        model=model,
        clip=parts.clip,
        image=Tower(parts.image, parts.clip.weights),
        text=Tower(parts.text, parts.clip.weights),
        pieces=parts.pieces,
        transform=_transform(parts.image.image_size, source.preprocess),
        tokenizer=tokenizer(name, config),
        context=parts.text.length,
        digest=_digest(config, parts.clip.weights),
        precision=precision,
        device=torch.device(device),
    )


def outline(name: str) -> anatomy.Anatomy:
    """The anatomy of a model without its numbers (on the meta device), for counting."""
    with torch.device("meta"):
        return anatomy.read(build(name, model_config(name)).requires_grad_(False), name)


def names() -> list[str]:
    """Every backbone that can be run, by its configuration alone."""
    found = [EMBEDDED]
    for name in open_clip.list_models():
        config = model_config(name)
        vision, text = config["vision_cfg"], config["text_cfg"]
        native = not vision.get("timm_model_name") and isinstance(vision.get("layers"), int)
        if native and not text.get("hf_model_name") and "multimodal_cfg" not in config:
            found.append(name)
    return found


def tags(name: str) -> list[str]:
    """The pretrained tags of a backbone."""
    return list(open_clip.list_pretrained_tags_by_model(name))


# --- configuration ---------------------------------------------------------------------------


def model_config(name: str) -> dict[str, Any]:
    """The open_clip configuration of a backbone: embedded, named, or in a JSON file."""
    if name == EMBEDDED:
        text = (files("harness") / "embedded" / "backbone" / "tiny_clip.json").read_text()
        return dict(json.loads(text))
    if name.endswith(".json"):
        return _config_file(Path(name))
    config = open_clip.get_model_config(name)
    if config is None:
        raise unknown(f"backbone {name!r}", name, names())
    return dict(config)


def _config_file(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
        config = config.get("model_cfg", config)
        missing = {"embed_dim", "vision_cfg", "text_cfg"} - set(config)
        flat = [k for k in ("vision_cfg", "text_cfg") if not isinstance(config.get(k, {}), dict)]
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UsageError(f"backbone.name: {path}: {reason}") from None
    except (json.JSONDecodeError, AttributeError, UnicodeDecodeError):
        raise UsageError(f"backbone.name: {path} is not a JSON object") from None
    if missing:
        raise UsageError(f"backbone.name: {path} has no {sorted(missing)[0]!r}")
    if flat:
        raise UsageError(f"backbone.name: {path}: {flat[0]!r} must be a JSON object")
    return dict(config)


def build(name: str, config: dict[str, Any]) -> nn.Module:
    """The open_clip model of a configuration, randomly initialised. Raises UsageError."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    if vision.get("timm_model_name"):
        raise UsageError(_foreign(name, "its image tower is a timm model"))
    if not isinstance(vision.get("layers", 12), int):
        raise UsageError(_foreign(name, "its image tower is a ResNet"))
    if text.get("hf_model_name"):
        raise UsageError(_foreign(name, "its text tower is a Hugging Face model"))
    if "multimodal_cfg" in config:
        raise UsageError(_foreign(name, "it is a captioning model (CoCa)"))
    arguments = {k: v for k, v in config.items() if k not in ("custom_text",)}
    kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    try:
        model: nn.Module = kind(**arguments)
    except Exception as error:  # open_clip raises whatever impossible sizes lead to
        raise UsageError(
            f"backbone {name!r}: open_clip cannot build it: {_reason(error)}"
        ) from None
    return model


def _foreign(name: str, why: str) -> str:
    return (
        f"backbone {name!r} is not supported: {why}; use a model with native ViT and text towers,"
        " such as ViT-B-16-quickgelu (`ringbench ls backbones` lists them)"
    )


# --- weights ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """Where weights come from, and what is known of how they were trained."""

    file: Path | None
    preprocess: dict[str, Any]
    quick_gelu: bool | None
    label: str


def check_weights(spec: BackboneSpec) -> None:
    """Raises UsageError where the weights cannot be had, without reading them."""
    config = model_config(spec.name)
    check_quick_gelu(spec.name, config, _source(spec.name, spec.pretrained, fetch=False))


def _source(name: str, pretrained: str, fetch: bool = True) -> Source:
    if name == EMBEDDED and not pretrained:
        path = files("harness") / "embedded" / "backbone" / "model.safetensors"
        return Source(Path(str(path)), {}, None, EMBEDDED)
    if pretrained == RANDOM:
        return Source(None, {}, None, RANDOM)
    known = [] if name.endswith(".json") else tags(name)
    if pretrained in known:
        return _tag(name, pretrained, fetch)
    if pretrained and (Path(pretrained).suffix or os.sep in pretrained):
        return _file(Path(pretrained))
    choices = ", ".join([*known, RANDOM])
    if not pretrained:
        raise UsageError(
            f"backbone.pretrained: {name} needs weights: a tag ({choices}) or a safetensors file"
        )
    twin = name.removesuffix("-quickgelu") if name.endswith("-quickgelu") else f"{name}-quickgelu"
    if pretrained in tags(twin):
        raise UsageError(
            f"backbone.pretrained: {pretrained!r} are weights of {twin}, not of {name}"
        )
    raise unknown(f"backbone.pretrained {pretrained!r}", pretrained, [*known, RANDOM])


def _tag(name: str, tag: str, fetch: bool) -> Source:
    config = open_clip.get_pretrained_cfg(name, tag)
    preprocess = {k: config[k] for k in ("mean", "std", "interpolation", "resize_mode")}
    path = _on_disk(config)
    if path is None and fetch:
        path = _download(config, name, tag)
    return Source(path, preprocess, bool(config.get("quick_gelu", False)), tag)


def _on_disk(config: dict[str, Any]) -> Path | None:
    """The weights of a tag in the local cache, found without any call to the network."""
    from huggingface_hub import try_to_load_from_cache

    repo, _, filename = config.get("hf_hub", "").rpartition("/")
    wanted = ["open_clip_model.safetensors", "model.safetensors"]
    if filename:
        wanted = [filename, str(Path(filename).with_suffix(".safetensors")), *wanted]
    for candidate in wanted if repo else ():
        found = try_to_load_from_cache(repo, candidate)
        if isinstance(found, str) and found.endswith(".safetensors"):
            return Path(found)
    return None


def _download(config: dict[str, Any], name: str, tag: str) -> Path:
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # not a line for each retry
    try:
        found = Path(open_clip.download_pretrained(config))
    except Exception as error:  # open_clip raises whatever its transport raises
        reason = _reason(error)
        raise UsageError(
            f"backbone.pretrained: the weights {tag!r} of {name} are not on disk and could not be"
            f" downloaded ({reason}); give a safetensors file instead"
        ) from None
    if found.suffix != ".safetensors":
        raise UsageError(
            f"backbone.pretrained: {tag!r} of {name} comes as {found.suffix}, which is not opened;"
            " convert it to safetensors and give the file"
        )
    return found


def _reason(error: Exception) -> str:
    """The first sentence of what went wrong."""
    first = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
    return first or type(error).__name__


def _file(path: Path) -> Source:
    if not path.is_file():
        raise UsageError(f"backbone.pretrained: {path}: no such file")
    if path.suffix != ".safetensors":
        raise UsageError(
            f"backbone.pretrained: {path} is not a safetensors file; other formats can run code"
            " when opened and are refused"
        )
    beside = path.with_name("open_clip_config.json")
    quick, preprocess = None, {}
    if beside.is_file():
        config = json.loads(beside.read_text())
        quick = bool(config.get("model_cfg", {}).get("quick_gelu", False))
        preprocess = dict(config.get("preprocess_cfg", {}))
    elif "openai" in path.name.lower():
        quick = True
    return Source(path, preprocess, quick, path.name)


def check_quick_gelu(name: str, config: dict[str, Any], source: Source) -> None:
    """Raises UsageError when the weights were trained with the other activation."""
    builds = bool(config.get("quick_gelu", False))
    if source.quick_gelu is None or source.quick_gelu == builds:
        return
    wants, has = ("QuickGELU", "GELU") if source.quick_gelu else ("GELU", "QuickGELU")
    twin = name.removesuffix("-quickgelu") if builds else f"{name}-quickgelu"
    hint = f"; use backbone={twin}" if twin in open_clip.list_models() else ""
    raise UsageError(
        f"backbone: the weights {source.label!r} were trained with {wants}, {name} has {has}{hint}"
    )


def _fill(model: nn.Module, path: Path, name: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            open_clip.load_checkpoint(model, str(path))
    except PermissionError:
        raise UsageError(f"backbone.pretrained: no permission to read {path}") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UsageError(
            f"backbone.pretrained: {path} does not hold the weights of {name}: {reason}"
        ) from None


def _digest(config: dict[str, Any], weights: dict[str, Tensor] | Any) -> str:
    sha = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for key in sorted(weights):
        sha.update(key.encode())
        sha.update(weights[key].detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]


# --- inputs ----------------------------------------------------------------------------------


def _transform(size: tuple[int, int], preprocess: dict[str, Any]) -> Transform:
    known = {k: v for k, v in preprocess.items() if k in ("mean", "std", "interpolation")}
    known["resize_mode"] = preprocess.get("resize_mode", "shortest")
    *crop, _, _, normalise = open_clip.image_transform(size, is_train=False, **known).transforms
    mode = f"{known['resize_mode']}-{known.get('interpolation', 'bicubic')}"

    return Transform(
        partial(_apply, tuple(crop)), size, tuple(normalise.mean), tuple(normalise.std), mode
    )


def _apply(steps: Sequence[Callable[[Any], Any]], image: Image.Image) -> Image.Image:
    for step in steps:
        image = step(image)
    return image


def tokenizer(name: str, config: dict[str, Any]) -> Tokenizer:
    """Texts to token ids, start and end included, neither cut nor padded. Raises UsageError."""
    text = config["text_cfg"]
    if text.get("hf_tokenizer_name"):
        return _hf_tokenizer(name, text)
    simple = open_clip.SimpleTokenizer()

    def encode(texts: list[str]) -> list[list[int]]:
        return [[simple.sot_token_id, *simple.encode(t), simple.eot_token_id] for t in texts]

    return encode


def _hf_tokenizer(name: str, text: dict[str, Any]) -> Tokenizer:
    length = text.get("context_length", 77)
    try:
        found = open_clip.get_tokenizer(name, context_length=length)
    except Exception as error:
        reason = _reason(error)
        raise UsageError(
            f"backbone {name!r}: its tokenizer {text['hf_tokenizer_name']!r} is not on disk and"
            f" could not be downloaded ({reason})"
        ) from None
    pad = found.tokenizer.pad_token_id or 0

    def encode(texts: list[str]) -> list[list[int]]:
        long = found(texts, context_length=4 * length)  # a text that is cut must be noticed
        beyond = (long[:, length:] != pad).any(1)
        return [row[: length + bool(over)].tolist() for row, over in zip(long, beyond, strict=True)]

    return encode
