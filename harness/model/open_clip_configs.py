"""open_clip's model configurations: names, files, and models built from them."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import nn

from harness.model.open_clip_library import open_clip
from methods.kit.core.errors import UsageError, unknown

EMBEDDED = "embedded"
RANDOM = "random"


def backbone_names() -> list[str]:
    """Return every backbone that can be run, judged by its configuration."""
    found = [EMBEDDED]
    for name in open_clip.list_models():
        config = model_config(name)
        vision, text = config["vision_cfg"], config["text_cfg"]
        native = not vision.get("timm_model_name") and isinstance(vision.get("layers"), int)
        if native and not text.get("hf_model_name") and "multimodal_cfg" not in config:
            found.append(name)
    return found


def pretrained_tags(name: str) -> list[str]:
    """Return the pretrained tags of a backbone."""
    return list(open_clip.list_pretrained_tags_by_model(name))


def model_config(name: str) -> dict[str, Any]:
    """Return the open_clip configuration of a backbone: embedded, named, or in a JSON file.

    Raises UsageError for an unknown name or an unusable file.
    """
    if name == EMBEDDED:
        text = (files("harness") / "embedded" / "backbone" / "tiny_clip.json").read_text()
        return dict(json.loads(text))
    if name.endswith(".json"):
        return _config_file(Path(name))
    config = open_clip.get_model_config(name)
    if config is None:
        raise unknown(f"backbone {name!r}", name, backbone_names())
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


def build_model(name: str, config: dict[str, Any]) -> nn.Module:
    """Return the open_clip model of a configuration, randomly initialised. Raises UsageError."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    if vision.get("timm_model_name"):
        raise unsupported(name, "its image tower is a timm model")
    if not isinstance(vision.get("layers", 12), int):
        raise unsupported(name, "its image tower is a ResNet")
    if text.get("hf_model_name"):
        raise unsupported(name, "its text tower is a Hugging Face model")
    if "multimodal_cfg" in config:
        raise unsupported(name, "it is a captioning model (CoCa)")
    arguments = {k: v for k, v in config.items() if k != "custom_text"}
    kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    try:
        model: nn.Module = kind(**arguments)
    except Exception as error:  # open_clip raises whatever impossible sizes lead to
        raise UsageError(
            f"backbone {name!r}: open_clip cannot build it: {first_sentence(error)}"
        ) from None
    return model


def unsupported(name: str, why: str) -> UsageError:
    return UsageError(
        f"backbone {name!r} is not supported: {why}; use a model with native ViT and text towers,"
        " such as ViT-B-16-quickgelu (`ringbench ls backbones` lists them)"
    )


def first_sentence(error: Exception) -> str:
    """Return the first sentence of an error's message, or its type."""
    first = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
    return first or type(error).__name__
