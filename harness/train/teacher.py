"""Outputs of the frozen model for the images that an adapter is trained on.

The prompts are encoded once per run, recurring views of the images once per process
(harness/model/frozen_features.py). Images with new random augmentation are encoded in each step,
without gradients, unless the adapted model's image features are the frozen ones.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.augment import View
from harness.data.split import Images
from harness.model import frozen_features
from harness.model.classifier import Answer, Classifier
from harness.model.tower import FROZEN
from harness.train.batches import Batch
from methods.kit.contract.step import Teacher


class FrozenTeacher:
    """The frozen model as teacher of a classifier, over the same training images.

    ``sets``: training images and the seed of their views; ``views``: those with cached features.
    """

    def __init__(
        self, net: Classifier, sets: Sequence[tuple[Images, int]], views: Sequence[View] = ()
    ) -> None:
        self.net = net
        self.text = net.encode_frozen_text() if net.frozen_text is None else net.frozen_text
        self.image: dict[View | None, list[Tensor]] = {}
        for view in views:
            features = (
                frozen_features.image_features(net.backbone, train, view.of(seed))
                for train, seed in sets
            )
            self.image[view] = [F.normalize(each, dim=-1) for each in features]
        self.scale = net.backbone.clip.weights["shared.scale.weight"].exp().squeeze()

    @torch.no_grad()
    def __call__(self, batch: Batch, answer: Answer) -> Teacher:
        """Return the teacher outputs for a batch; ``answer``: those of the adapted model."""
        image = self._image(batch, answer)
        return Teacher(image, self.text, self.scale * (image @ self.text.mT))

    def _image(self, batch: Batch, answer: Answer) -> Tensor:
        if batch.view in self.image:
            cached = self.image[batch.view]
            if batch.streams is None:
                return cached[0][batch.rows]
            pairs = zip(batch.streams, batch.rows, strict=True)
            return torch.stack([cached[stream][rows] for stream, rows in pairs])
        if not self.net.image_trains:
            return answer.image.detach()
        with self.net.backbone.autocast():
            return self.net.image(batch.x, FROZEN, own=batch.streams is not None)
