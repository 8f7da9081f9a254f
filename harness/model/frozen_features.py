"""What the frozen model makes of images, computed once a process and kept by what it depends on."""

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

EMBEDDING = ("words", "patches", "class_token", "positions", "ln_pre", "tokens")
HEAD = ("ln_post", "pooled", "project")


def last_frozen_point(wiring: Wiring, tower: Tower) -> int:
    """The last point (see :class:`Tower`) that what hangs cannot change; -1 if there is none.

    What is reported of a site while watching must pass it, so it counts as touched.
    """
    depth = tower.shape.depth
    keys = [*wiring.sites, *(report.key for report in wiring.reports if report.key is not None)]
    points = [depth + 1]
    for name, layer, site in keys:
        if name == tower.shape.name:
            points.append(layer if layer is not None else depth if site in HEAD else -1)
    return min(points)


def image_features(backbone: Backbone, images: Images, view: View = UNCHANGED) -> Tensor:
    """Frozen features (n, dim) of images, not normalised, on the backbone's device."""
    return activations(backbone, images, backbone.image.shape.depth + 1, view)


def activations(backbone: Backbone, images: Images, point: int, view: View = UNCHANGED) -> Tensor:
    """The frozen image tower at a point (see Tower): features (n, dim), or (n, length, width)."""
    key = _key(backbone, images, point, view)
    return shared_cache.get(key, lambda: encode_images(backbone, images.pixels, point, view))


def cached_activations(backbone: Backbone, images: Images, point: int) -> Tensor | None:
    """The activations of images as they are, if they are kept."""
    return shared_cache.find(_key(backbone, images, point, UNCHANGED))


@torch.no_grad()
def encode_images(backbone: Backbone, pixels: Pixels, point: int, view: View = UNCHANGED) -> Tensor:
    """The frozen image tower at a point for uint8 pixels, in big batches."""
    tower, parts = backbone.image, []
    warps = view.warps(len(pixels), backbone.transform.size)
    places = torch.arange(len(pixels)).split(tower.shape.at_once(backbone.device))

    def run(x: Tensor) -> Tensor:
        if point > tower.shape.depth:
            return tower(x).float()
        return tower.begin(x, point).x.unflatten(0, (len(x), -1))

    passed = ChunkedCall(run)
    with backbone.autocast():
        for rows, read in zip(places, pixel_batches(pixels, places), strict=True):
            x = backbone.transform.normalise(read.to(backbone.device))
            if warps is not None:
                x = warp(x, warps[rows].to(x.device))
            parts.append(passed(x))
    return torch.cat(parts)


def _key(backbone: Backbone, images: Images, point: int, view: View) -> Hashable:
    return (backbone.digest, backbone.precision, str(backbone.device), images.key, point, view)


def activation_bytes(backbone: Backbone, images: int, point: int) -> int:
    """What :func:`activations` of one view of so many images take."""
    shape = backbone.image.shape
    if point > shape.depth:
        each = backbone.clip.dim
    else:
        pooled = point == shape.depth and shape.pool != "mean"
        each = shape.width * (1 if pooled else shape.length)
    return 4 * each * images
