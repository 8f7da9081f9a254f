"""What the frozen model says of the images that an adapter is trained on.

Nothing is computed twice: the prompts are encoded once a run, looks of the images that come again
once a process (harness/features.py). Images that are augmented at random are encoded again in each
step, without gradients, unless the adapted model's own image features are the frozen ones.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from harness import features
from harness.augment import PLAIN, View
from harness.classifier import Answer, Classifier
from harness.data import Images
from harness.tower import FROZEN
from methods.kit.adapter import Teacher


class FrozenModel:
    """The frozen model beside a classifier, over the same training images.

    ``looks`` are those of which the features are kept.
    """

    def __init__(self, net: Classifier, train: Images, looks: Sequence[View] = ()) -> None:
        self.net = net
        self.text = net.encode_frozen_text() if net.frozen_text is None else net.frozen_text
        self.image: dict[View | None, Tensor] = {
            look: F.normalize(features.image_features(net.backbone, train, look), dim=-1)
            for look in looks
        }
        self.scale = net.backbone.clip.weights["shared.scale.weight"].exp().squeeze()

    @torch.no_grad()
    def __call__(
        self, x: Tensor, rows: Tensor, answer: Answer, look: View | None = PLAIN
    ) -> Teacher:
        """For the images ``x``, which are the given rows of the training images in this look."""
        image = self._image(x, rows, answer, look)
        return Teacher(image, self.text, self.scale * (image @ self.text.mT))

    def _image(self, x: Tensor, rows: Tensor, answer: Answer, look: View | None) -> Tensor:
        if look in self.image:
            return self.image[look][rows]
        if not self.net.image_trains:
            return answer.image.detach()
        with self.net.backbone.autocast():
            return self.net.image(x, FROZEN)
