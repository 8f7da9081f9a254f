"""Adapters folded into a plain open_clip model."""

import copy

import torch
from torch import Tensor, nn

from harness.model.backbone import Backbone
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.contract.adapter import Adapter
from methods.kit.core.errors import UsageError


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
