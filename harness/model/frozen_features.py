"""The frozen model's activations of images, computed once per process and cached."""

from collections.abc import Hashable

import torch
from torch import Tensor

from harness.data.augment import UNCHANGED, View, warp
from harness.data.pixels import Pixels, pixel_batches
from harness.data.split import Images
from harness.model.backbone import Backbone
from harness.model.out_of_memory import ChunkedCall
from harness.model.tensor_cache import shared_cache
from harness.model.tower import Tower
from methods.kit.binding.wiring import Wiring

HEAD = ("ln_post", "pooled", "project")


def last_frozen_point(wiring: Wiring, tower: Tower) -> int:
    """Return the last point (see :class:`Tower`) that the attached functions cannot change.

    It is -1 if there is none. A site with a report counts as touched, as the report has to see it.
    """
    depth = tower.shape.depth
    keys = [*wiring.sites, *(report.key for report in wiring.reports if report.key is not None)]
    points = [depth + 1]
    for name, layer, site in keys:
        if name == tower.shape.name:
            points.append(layer if layer is not None else depth if site in HEAD else -1)
    return min(points)


def image_features(backbone: Backbone, images: Images, view: View = UNCHANGED) -> Tensor:
    """Return frozen features (n, dim), not normalised, on the backbone's device."""
    return activations(backbone, images, backbone.image.shape.depth + 1, view)


def activations(backbone: Backbone, images: Images, point: int, view: View = UNCHANGED) -> Tensor:
    """Return the frozen image tower's stream (n, length, width) at a point, or features (n, dim).

    Computed once per process.
    """
    key = _key(backbone, images, point, view)
    return shared_cache.get(key, lambda: encode_images(backbone, images.pixels, point, view))


def cached_activations(backbone: Backbone, images: Images, point: int) -> Tensor | None:
    """Return the activations of images without augmentation, if they are cached."""
    return shared_cache.find(_key(backbone, images, point, UNCHANGED))


@torch.no_grad()
def encode_images(backbone: Backbone, pixels: Pixels, point: int, view: View = UNCHANGED) -> Tensor:
    """Run the frozen image tower up to a point over uint8 pixels, in large batches."""
    tower, transform, parts = backbone.image, backbone.transform, []
    warps = view.warps(len(pixels), transform.size)
    batches = torch.arange(len(pixels)).split(tower.shape.batch_size(backbone.device))

    def run(x: Tensor) -> Tensor:
        if point > tower.shape.depth:
            return tower(x).float()
        return tower.begin(x, point).x.unflatten(0, (len(x), -1))

    encode = ChunkedCall(run)
    with backbone.autocast():
        for rows, read in zip(batches, pixel_batches(pixels, batches), strict=True):
            x = transform.normalise(read.to(backbone.device))
            if warps is not None:
                x = warp(x, warps[rows].to(x.device))
            parts.append(encode(x))
    return torch.cat(parts)


def _key(backbone: Backbone, images: Images, point: int, view: View) -> Hashable:
    return (backbone.digest, backbone.precision, str(backbone.device), images.key, point, view)


def activation_bytes(backbone: Backbone, images: int, point: int) -> int:
    """Return the bytes of :func:`activations` for one view of so many images."""
    shape = backbone.image.shape
    if point > shape.depth:
        return 4 * backbone.clip.dim * images
    pooled = point == shape.depth and shape.pool != "mean"
    return 4 * shape.width * (1 if pooled else shape.length) * images
