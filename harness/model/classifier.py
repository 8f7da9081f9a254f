"""An adapted CLIP as a classifier: images in, logits out. It computes only what can change."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.pixels import Pixels
from harness.data.split import Images
from harness.model import frozen_features
from harness.model.backbone import Backbone
from harness.model.frozen_features import last_frozen_point
from harness.model.prompt_packing import Packing, Prompts, packing_for
from harness.model.tensor_cache import cache_budget
from harness.model.tower import FROZEN, Sequences
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.binding.wiring import Wiring
from methods.kit.contract.adapter import Adapter


@dataclass(frozen=True)
class Answer:
    """Normalised features and logits of a forward pass."""

    image: Tensor  # (n, dim)
    text: Tensor  # (classes, dim)
    logits: Tensor  # (n, classes)


class Classifier:
    """One adapter over one backbone for one list of class names.

    ``known`` is False for a label space other than the one the adapter was attached for; a part
    that depends on the classes (a head) is then left out of the score. For co-trained trials,
    ``wiring`` is the union of theirs and ``adapter`` is the first. Of several data sets that are
    trained together this is number ``task``; a head for all their classes has its at ``columns``.

    Images are uint8 pixels, normalised pixels, the frozen stream at ``image_point``
    (n, length, width), or frozen features (n, dim). What the adapter cannot change of the prompts
    is computed once, if it fits into the cache.
    """

    def __init__(
        self,
        backbone: Backbone,
        adapter: Adapter,
        prompts: Prompts,
        known: bool = True,
        wiring: Wiring | None = None,
        task: int = 0,
        columns: slice | None = None,
    ) -> None:
        self.backbone = backbone
        self.adapter = adapter
        self.wiring = wiring or adapter.wiring
        self.prompts = prompts
        self.known = known
        self.task = task
        self.columns = columns
        self.image_point = last_frozen_point(self.wiring, backbone.image)
        self.text_point = last_frozen_point(self.wiring, backbone.text)
        self.image_trains = self.image_point <= backbone.image.shape.depth
        self.text_trains = self.text_point <= backbone.text.shape.depth
        self._streams: dict[int, Sequences] = {}
        size = 4 * len(prompts) * backbone.clip.dim
        fits = not self.text_trains and size <= cache_budget(backbone.device)
        self.frozen_text = self.encode_frozen_text() if fits else None

    def inputs(self, images: Images, recurring: bool = False) -> Pixels:
        """Return what the classifier reads of images without augmentation.

        These are features that cannot change, cached activations, or pixels. Few images that are
        ``recurring`` are cached.
        """
        backbone, point = self.backbone, self.image_point
        budget = cache_budget(backbone.device)
        size = frozen_features.activation_bytes(backbone, len(images), point)
        few = recurring and point > 0 and size <= budget // 8  # besides what training caches
        if few or (not self.image_trains and size <= budget):
            return frozen_features.activations(backbone, images, point)
        cached = frozen_features.cached_activations(backbone, images, point)
        return images.pixels if cached is None else cached

    def text(self, bound: BoundAdapter) -> Tensor:
        """Return normalised features of the class prompts (classes, dim)."""
        if self.frozen_text is not None:
            return self.frozen_text
        if not self.text_trains:
            return self.encode_frozen_text()
        stream = self.text_stream(bound)
        with self.backbone.autocast():
            if stream is None:
                return self._mean_text(bound)
            encoded = self.backbone.text.finish(stream, bound, self.text_point)
        return F.normalize(encoded.float(), dim=-1)

    @property
    def text_cacheable(self) -> bool:
        """Whether text can be cached: features, or the stream of a single template."""
        return self.text_point > 0 and not (self.text_trains and self.prompts.more)

    def text_stream(self, bound: BoundAdapter) -> Sequences | None:
        """Return the frozen stream of the prompts at ``text_point``, if it can be cached."""
        packing = packing_for(self.prompts, bound.wiring, bound.noise is not None)
        fits = self.text_bytes(packing) <= cache_budget(self.backbone.device)
        if not (self.text_trains and self.text_cacheable and fits):
            return None
        if id(packing) not in self._streams:  # the prompts keep their packings alive
            with torch.no_grad(), self.backbone.autocast():
                stream = self.backbone.text.begin(self.prompts, self.text_point, bound)
            self._streams[id(packing)] = stream
        return self._streams[id(packing)]

    def text_bytes(self, packing: Packing | None) -> int:
        """Return the bytes of what is cached of the prompts."""
        shape, ids = self.backbone.text.shape, self.prompts.ids
        if not self.text_trains:
            return 4 * len(ids) * self.backbone.clip.dim
        rows = ids.numel() if packing is None else len(packing.places)
        if self.text_point == shape.depth and shape.pool != "mean":
            rows = len(ids)
        return 4 * rows * shape.width

    def image(self, x: Tensor, bound: BoundAdapter, own: bool = False) -> Tensor:
        """Return normalised features (n, dim). ``own``: x leads with trials, each with its own
        images."""
        axes = x.dim() - own
        if axes == 2:
            return F.normalize(x.float(), dim=-1)
        if axes == 3:
            stream = Sequences(x.flatten(-3, -2), x.shape[-3])
            encoded = self.backbone.image.finish(stream, bound, self.image_point)
        else:
            pixels = self.backbone.transform.normalise(x) if x.dtype == torch.uint8 else x
            encoded = self.backbone.image(pixels, bound if self.image_trains else FROZEN)
        return F.normalize(encoded.float(), dim=-1)

    def __call__(
        self, x: Tensor, bound: BoundAdapter, text: Tensor | None = None, own: bool = False
    ) -> Answer:
        with self.backbone.autocast():
            text = self.text(bound) if text is None else text
            image = self.image(x, bound, own)
        logits = bound.score(image, text, self.scale(bound), self.known)
        if self.columns is not None and logits.shape[-1] != len(self.prompts):
            logits = logits[..., self.columns]
        return Answer(image, text, logits)

    def scale(self, bound: BoundAdapter) -> Tensor:
        """Return exp of the logit scale, which a method may train."""
        frozen = self.backbone.clip.weights["shared.scale.weight"]
        scale = bound.tensor(("shared", None, "scale"), frozen).exp()
        return scale.squeeze(-1) if frozen.dim() else scale  # some builds store (1,)

    def encode_frozen_text(self) -> Tensor:
        """Return the frozen model's normalised features of the prompts (classes, dim)."""
        with torch.no_grad(), self.backbone.autocast():
            return self._mean_text(FROZEN)

    def _mean_text(self, bound: BoundAdapter) -> Tensor:
        """For an ensemble of templates, the normalised mean of the normalised features."""
        each = [
            F.normalize(self.backbone.text(prompts, bound).float(), dim=-1)
            for prompts in (self.prompts, *self.prompts.more)
        ]
        return each[0] if len(each) == 1 else F.normalize(sum(each[1:], each[0]), dim=-1)
