"""Pretrained weights: where they come from, and whether they fit the model."""

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from harness.model.open_clip_configs import (
    EMBEDDED,
    RANDOM,
    first_sentence,
    model_config,
    pretrained_tags,
)
from harness.model.open_clip_library import open_clip
from harness.spec.spec import BackboneSpec
from methods.kit.core.errors import UsageError, unknown


@dataclass(frozen=True)
class WeightSource:
    """Where weights come from, and what is known of their training. No file: random weights."""

    file: Path | None
    preprocess: dict[str, Any]
    quick_gelu: bool | None
    label: str


def check_weights(spec: BackboneSpec) -> None:
    """Check that the weights of a spec can be loaded, without reading them. Raises UsageError."""
    config = model_config(spec.name)
    check_quick_gelu(spec.name, config, find_weights(spec.name, spec.pretrained, fetch=False))


def find_weights(name: str, pretrained: str, fetch: bool = True) -> WeightSource:
    """Find the weights of a backbone; ``fetch`` downloads a tag that is not on disk.

    Raises UsageError for an unknown tag or an unusable file.
    """
    if name == EMBEDDED and not pretrained:
        path = files("harness") / "embedded" / "backbone" / "model.safetensors"
        return WeightSource(Path(str(path)), {}, None, EMBEDDED)
    if pretrained == RANDOM:
        return WeightSource(None, {}, None, RANDOM)
    known = [] if name.endswith(".json") else pretrained_tags(name)
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
    if pretrained in pretrained_tags(twin):
        raise UsageError(
            f"backbone.pretrained: {pretrained!r} are weights of {twin}, not of {name}"
        )
    raise unknown(f"backbone.pretrained {pretrained!r}", pretrained, [*known, RANDOM])


def _tag(name: str, tag: str, fetch: bool) -> WeightSource:
    config = open_clip.get_pretrained_cfg(name, tag)
    preprocess = {k: config[k] for k in ("mean", "std", "interpolation", "resize_mode")}
    path = _on_disk(config)
    if path is None and fetch:
        path = _download(config, name, tag)
    return WeightSource(path, preprocess, bool(config.get("quick_gelu", False)), tag)


def _on_disk(config: dict[str, Any]) -> Path | None:
    """Return the weights of a tag in the local cache, without network access."""
    from huggingface_hub import try_to_load_from_cache

    repo, _, filename = config.get("hf_hub", "").rpartition("/")
    names = ["open_clip_model.safetensors", "model.safetensors"]
    if filename:
        names = [filename, str(Path(filename).with_suffix(".safetensors")), *names]
    for candidate in names if repo else ():
        found = try_to_load_from_cache(repo, candidate)
        if isinstance(found, str) and found.endswith(".safetensors"):
            return Path(found)
    return None


def _download(config: dict[str, Any], name: str, tag: str) -> Path:
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # not a line for each retry
    try:
        found = Path(open_clip.download_pretrained(config))
    except Exception as error:  # open_clip raises whatever its transport raises
        reason = first_sentence(error)
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


def _file(path: Path) -> WeightSource:
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
    return WeightSource(path, preprocess, quick, path.name)


def check_quick_gelu(name: str, config: dict[str, Any], source: WeightSource) -> None:
    """Raise UsageError if the weights were trained with the other activation."""
    builds = bool(config.get("quick_gelu", False))
    if source.quick_gelu is None or source.quick_gelu == builds:
        return
    wants, has = ("QuickGELU", "GELU") if source.quick_gelu else ("GELU", "QuickGELU")
    twin = name.removesuffix("-quickgelu") if builds else f"{name}-quickgelu"
    hint = f"; use backbone={twin}" if twin in open_clip.list_models() else ""
    raise UsageError(
        f"backbone: the weights {source.label!r} were trained with {wants}, {name} has {has}{hint}"
    )


def load_weights(model: nn.Module, path: Path, name: str) -> None:
    """Load a safetensors file into a model. Raises UsageError if it does not fit."""
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


def weights_digest(config: dict[str, Any], weights: Mapping[str, Tensor]) -> str:
    """Return a hash of a model's configuration and weights."""
    sha = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for key in sorted(weights):
        sha.update(key.encode())
        sha.update(weights[key].detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]
