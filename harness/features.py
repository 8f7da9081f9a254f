"""Frozen features, encoded once a process and kept by what they depend on."""

from collections import OrderedDict

import torch
from torch import Tensor

from harness.backbone import Backbone
from harness.data import Images
from harness.pixels import Pixels

BATCH = 256
BUDGET_BYTES = 2 << 30

_kept: OrderedDict[tuple[str, ...], Tensor] = OrderedDict()


def image_features(backbone: Backbone, images: Images) -> Tensor:
    """Frozen features (n, dim) of images, not normalised, on the backbone's device."""
    key = (backbone.digest, backbone.precision, str(backbone.device), images.key)
    if key not in _kept:
        _kept[key] = encode(backbone, images.pixels)
        _trim()
    _kept.move_to_end(key)
    return _kept[key]


@torch.no_grad()
def encode(backbone: Backbone, pixels: Pixels) -> Tensor:
    """Frozen features of uint8 pixels, in big batches."""
    with backbone.autocast():
        parts = [
            backbone.image(backbone.transform.normalise(part.to(backbone.device))).float()
            for part in pixels.split(BATCH)
        ]
    return torch.cat(parts)


def _trim() -> None:
    while sum(t.nbytes for t in _kept.values()) > BUDGET_BYTES and len(_kept) > 1:
        _kept.popitem(last=False)
