"""An adapted CLIP as a classifier: images in, logits out; computes what can change."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.pixels import Pixels
from harness.data.split import Images
from harness.model import frozen_features
from harness.model.backbone import Backbone
from harness.model.frozen_features import last_frozen_point
from harness.model.prompt_packing import Packing
from harness.model.tensor_cache import cache_budget
from harness.model.tower import FROZEN, Prompts, ResidualStream, packing_for
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.binding.wiring import Wiring
from methods.kit.contract.adapter import Adapter


@dataclass(frozen=True)
class Answer:
    """What a forward pass gives: normalised features and logits."""

    image: Tensor  # (n, dim)
    text: Tensor  # (classes, dim)
    logits: Tensor  # (n, classes)


class Classifier:
    """One adapter over one backbone for one list of class names.

    ``known`` is False for a label space other than the one the adapter was attached for; what
    depends on the classes (a head) then stays out of the score. What the adapter cannot change of
    the prompts is computed once, if the budget of the process has room for it.

    Images come as uint8 pixels, as pixels already normalised, as the frozen stream at
    ``image_point`` (n, length, width), or as frozen features (n, dim).

    For co-trained trials, ``wiring`` is the union of theirs and ``adapter`` is the first.
    """

    task = 0  # which of the data sets that are trained together it is for

    def __init__(
        self,
        backbone: Backbone,
        adapter: Adapter,
        prompts: Prompts,
        known: bool = True,
        wiring: Wiring | None = None,
    ) -> None:
        self.backbone = backbone
        self.adapter = adapter
        self.wiring = wiring or adapter.wiring
        self.prompts = prompts
        self.known = known
        self.image_point = last_frozen_point(self.wiring, backbone.image)
        self.text_point = last_frozen_point(self.wiring, backbone.text)
        self.image_trains = self.image_point <= backbone.image.shape.depth
        self.text_trains = self.text_point <= backbone.text.shape.depth
        self._streams: dict[int, ResidualStream] = {}
        size = 4 * len(prompts) * backbone.clip.dim
        fits = not self.text_trains and size <= cache_budget(backbone.device)
        self.frozen_text = self.encode_frozen_text() if fits else None

    def inputs(self, images: Images, again: bool = False) -> Pixels:
        """What the classifier reads of images as they are: features if those cannot change, what
        is kept of them, or pixels. Images that are read ``again`` are kept where they are few."""
        point, budget = self.image_point, cache_budget(self.backbone.device)
        size = frozen_features.activation_bytes(self.backbone, len(images), point)
        few = again and point > 0 and size <= budget // 8  # beside what a training keeps
        if few or (not self.image_trains and size <= budget):
            return frozen_features.activations(self.backbone, images, point)
        found = frozen_features.cached_activations(self.backbone, images, point)
        return images.pixels if found is None else found

    def text(self, bound: BoundAdapter) -> Tensor:
        """Normalised features of the class prompts (classes, dim)."""
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
    def keeps_text(self) -> bool:
        """Whether something of the prompts can be kept: features, or the stream of one template."""
        return self.text_point > 0 and not (self.text_trains and self.prompts.more)

    def text_stream(self, bound: BoundAdapter) -> ResidualStream | None:
        """What the frozen model makes of the prompts before the adapter acts, if that is kept."""
        packing, room = (
            packing_for(self.prompts, bound.wiring, bound.noise is not None),
            cache_budget(self.backbone.device),
        )
        fits = self.text_bytes(packing) <= room
        if not (self.text_trains and self.keeps_text and fits):
            return None
        if id(packing) not in self._streams:  # the prompts keep their packings alive
            with torch.no_grad(), self.backbone.autocast():
                made = self.backbone.text.begin(self.prompts, self.text_point, bound)
            self._streams[id(packing)] = made
        return self._streams[id(packing)]

    def text_bytes(self, packing: Packing | None) -> int:
        """What is kept of the prompts takes so much."""
        shape, ids = self.backbone.text.shape, self.prompts.ids
        if not self.text_trains:
            return 4 * len(ids) * self.backbone.clip.dim
        rows = ids.numel() if packing is None else len(packing.places)
        if self.text_point == shape.depth and shape.pool != "mean":
            rows = len(ids)
        return 4 * rows * shape.width

    def image(self, x: Tensor, bound: BoundAdapter, own: bool = False) -> Tensor:
        """Normalised features (n, dim). ``own``: trials lead ``x``, each with its own images."""
        axes = x.dim() - own
        if axes == 2:
            return F.normalize(x.float(), dim=-1)
        if axes == 3:
            stream = ResidualStream(x.flatten(-3, -2), x.shape[-3])
            encoded = self.backbone.image.finish(stream, bound, self.image_point)
        else:
            pixels = self.backbone.transform.normalise(x) if x.dtype == torch.uint8 else x
            encoded = self.backbone.image(pixels, bound if self.image_trains else FROZEN)
        return F.normalize(encoded.float(), dim=-1)

    def __call__(
        self, x: Tensor, bound: BoundAdapter, text: Tensor | None = None, own: bool = False
    ) -> Answer:
        with self.backbone.autocast():
            words = self.text(bound) if text is None else text
            image = self.image(x, bound, own)
        logits = bound.score(image, words, self.scale(bound), self.known)
        return Answer(image, words, logits)

    def scale(self, bound: BoundAdapter) -> Tensor:
        """exp of the logit scale; a method may train it."""
        frozen = self.backbone.clip.weights["shared.scale.weight"]
        scale = bound.tensor(("shared", None, "scale"), frozen).exp()
        return scale.squeeze(-1) if frozen.dim() else scale  # some builds store (1,)

    def encode_frozen_text(self) -> Tensor:
        """What the frozen model makes of the class prompts: normalised features (classes, dim)."""
        with torch.no_grad(), self.backbone.autocast():
            return self._mean_text(FROZEN)

    def _mean_text(self, bound: BoundAdapter) -> Tensor:
        """Of an ensemble of templates the mean of the normalised features, normalised."""
        each = [
            F.normalize(self.backbone.text(prompts, bound).float(), dim=-1)
            for prompts in (self.prompts, *self.prompts.more)
        ]
        return each[0] if len(each) == 1 else F.normalize(sum(each[1:], each[0]), dim=-1)
