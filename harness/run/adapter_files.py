"""Adapters as files, and adapters folded into a plain open_clip model."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from harness.model.backbone import Backbone
from harness.spec.spec import Spec
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.contract.adapter import Adapter
from methods.kit.core.errors import UsageError

WEIGHTS, CONFIG = "adapter.safetensors", "adapter_config.json"
SCHEMA = 1


def adapter_bytes(state: Mapping[str, Tensor]) -> int:
    """The size of the saved adapter's weights file."""
    return len(save(dict(state))) if state else 0


def write(folder: Path, spec: Spec, state: Mapping[str, Tensor], extra: Mapping[str, Any]) -> None:
    """Write the adapter's two files into a folder."""
    save_file(dict(state), folder / WEIGHTS)
    config = {"schema_version": SCHEMA, "peft_type": "RINGBENCH", "spec": spec.as_dict(), **extra}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(config, state) of an adapter folder. Raises UsageError for files that are not one."""
    try:
        config = json.loads((folder / CONFIG).read_text())
        return config, load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise UsageError(f"{folder}: no {Path(str(error.filename)).name}") from None
    except (json.JSONDecodeError, SafetensorError) as error:
        raise UsageError(f"{folder}: not an adapter ({error})") from None


@torch.no_grad()
def folded_weights(backbone: Backbone, bound: BoundAdapter) -> dict[str, Tensor]:
    """open_clip state keys to the weights that hold the adapter; only those that change."""
    if not bound.wiring.foldable:
        raise UsageError("this method is not foldable: it acts on activations or on the score")
    like = dict(backbone.model.named_parameters())
    weights = backbone.clip.weights
    pieces = {piece.name: piece for piece in backbone.mappings}
    out: dict[str, Tensor] = {}
    for tower, layer, site in bound.wiring.sites:
        stem = ".".join(str(p) for p in (tower, layer, site) if p is not None)
        weight, bias = weights.get(f"{stem}.weight"), weights.get(f"{stem}.bias")
        if weight is None:
            raise UsageError(f"nothing frozen lives at {stem}, so nothing can be folded there")
        new = bound.folded((tower, layer, site), weight, bias)
        for part, value in zip(("weight", "bias"), new, strict=True):
            piece = pieces.get(f"{stem}.{part}")
            if piece is not None and value is not None:
                out[piece.key] = piece.write(value, like[piece.key])
    return out


def folded_model(backbone: Backbone, adapter: Adapter) -> nn.Module:
    """A plain open_clip model that computes what the adapted one does. Raises UsageError."""
    weights = folded_weights(backbone, adapter.bind())
    model = copy.deepcopy(backbone.model)
    model.load_state_dict(weights, strict=False)
    return model
