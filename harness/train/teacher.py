"""What the frozen model says of the images that an adapter is trained on.

Nothing is computed twice: the prompts are encoded once a run, looks of the images that come again
once a process (harness/model/frozen_features.py). Images that are augmented at random are encoded
again in each step, without gradients, unless the adapted model's own image features are the frozen
ones.
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
    """The frozen model beside a classifier, over the same training images.

    ``sets`` are the training images and the seed that draws their looks; ``looks`` are those of
    which the features are kept.
    """

    def __init__(
        self, net: Classifier, sets: Sequence[tuple[Images, int]], looks: Sequence[View] = ()
    ) -> None:
        self.net = net
        self.text = net.encode_frozen_text() if net.frozen_text is None else net.frozen_text
        self.image: dict[View | None, list[Tensor]] = {
            look: [
                F.normalize(
                    frozen_features.image_features(net.backbone, train, look.of(seed)), dim=-1
                )
                for train, seed in sets
            ]
            for look in looks
        }
        self.scale = net.backbone.clip.weights["shared.scale.weight"].exp().squeeze()

    @torch.no_grad()
    def __call__(self, batch: Batch, answer: Answer) -> Teacher:
        """What it says of a batch to which the adapted model gives this answer."""
        image = self._image(batch, answer)
        return Teacher(image, self.text, self.scale * (image @ self.text.mT))

    def _image(self, batch: Batch, answer: Answer) -> Tensor:
        if batch.look in self.image:
            kept = self.image[batch.look]
            if batch.feeds is None:
                return kept[0][batch.rows]
            pairs = zip(batch.feeds, batch.rows, strict=True)
            return torch.stack([kept[feed][rows] for feed, rows in pairs])
        if not self.net.image_trains:
            return answer.image.detach()
        with self.net.backbone.autocast():
            return self.net.image(batch.x, FROZEN, own=batch.feeds is not None)
