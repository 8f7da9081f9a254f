"""An adapted CLIP as a classifier: pixels or features in, logits out; encodes what can change."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness import features
from harness.backbone import Backbone
from harness.data import Images
from harness.pixels import Pixels
from harness.tower import FROZEN, Prompts
from methods.kit.adapter import Adapter
from methods.kit.bound import Bound


@dataclass(frozen=True)
class Answer:
    """What a forward pass gives: normalised features and logits."""

    image: Tensor  # (n, dim)
    text: Tensor  # (classes, dim)
    logits: Tensor  # (n, classes)


class Classifier:
    """One adapter over one backbone for one list of class names.

    ``known`` is False for a label space other than the one the adapter was attached for; what
    depends on the classes (a head) then stays out of the score.
    """

    def __init__(
        self, backbone: Backbone, adapter: Adapter, prompts: Prompts, known: bool = True
    ) -> None:
        self.backbone = backbone
        self.adapter = adapter
        self.prompts = prompts
        self.known = known
        self.image_trains = adapter.touches("image")
        self.text_trains = adapter.touches("text")
        self.frozen_text = None if self.text_trains else self.encode_frozen_text()

    def inputs(self, images: Images) -> Pixels:
        """What the classifier reads of images: pixels, or features if those cannot change."""
        if self.image_trains:
            return images.pixels
        return features.image_features(self.backbone, images)

    def text(self, bound: Bound) -> Tensor:
        """Normalised features of the class prompts (classes, dim)."""
        if self.frozen_text is not None:
            return self.frozen_text
        return self._mean_text(bound)

    def image(self, x: Tensor, bound: Bound) -> Tensor:
        """Normalised features (n, dim) of features, uint8 pixels or pixels already normalised."""
        if x.dim() == 2:
            return F.normalize(x.float(), dim=-1)
        pixels = self.backbone.transform.normalise(x) if x.dtype == torch.uint8 else x
        encoded = self.backbone.image(pixels, bound if self.image_trains else FROZEN)
        return F.normalize(encoded.float(), dim=-1)

    def __call__(self, x: Tensor, bound: Bound, text: Tensor | None = None) -> Answer:
        with self.backbone.autocast():
            words = self.text(bound) if text is None else text
            image = self.image(x, bound)
        logits = bound.score(image, words, self.scale(bound), self.known)
        return Answer(image, words, logits)

    def scale(self, bound: Bound) -> Tensor:
        """exp of the logit scale; a method may train it."""
        frozen = self.backbone.clip.weights["shared.scale.weight"]
        scale = bound.tensor(("shared", None, "scale"), frozen).exp()
        return scale.squeeze(-1) if frozen.dim() else scale  # some builds store (1,)

    def encode_frozen_text(self) -> Tensor:
        """What the frozen model makes of the class prompts: normalised features (classes, dim)."""
        with torch.no_grad(), self.backbone.autocast():
            return self._mean_text(FROZEN)

    def _mean_text(self, bound: Bound) -> Tensor:
        """Of an ensemble of templates the mean of the normalised features, normalised."""
        each = [
            F.normalize(self.backbone.text(prompts, bound).float(), dim=-1)
            for prompts in (self.prompts, *self.prompts.more)
        ]
        return each[0] if len(each) == 1 else F.normalize(sum(each[1:], each[0]), dim=-1)
