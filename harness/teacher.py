"""What the frozen model says of the images that an adapter is trained on.

Nothing is computed twice: the prompts are encoded once a run, images whose pixels stay as they are
once a process (harness/features.py). Images that are augmented at random are encoded again in each
step, without gradients, unless the adapted model's own image features are the frozen ones.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from harness import features
from harness.classifier import Answer, Classifier
from harness.data import Images
from methods.kit.adapter import Teacher


class FrozenModel:
    """The frozen model beside a classifier, over the same training images."""

    def __init__(self, net: Classifier, train: Images, fixed: bool) -> None:
        self.net = net
        self.text = net.encode_frozen_text() if net.frozen_text is None else net.frozen_text
        self.image = None
        if fixed:
            self.image = F.normalize(features.image_features(net.backbone, train), dim=-1)
        self.scale = net.backbone.clip.weights["shared.scale.weight"].exp().squeeze()

    @torch.no_grad()
    def __call__(self, x: Tensor, rows: Tensor, answer: Answer) -> Teacher:
        """For the images ``x``, which are the given rows of the training images."""
        image = self._image(x, rows, answer)
        return Teacher(image, self.text, self.scale * (image @ self.text.mT))

    def _image(self, x: Tensor, rows: Tensor, answer: Answer) -> Tensor:
        if self.image is not None:
            return self.image[rows]
        if not self.net.image_trains:
            return answer.image.detach()
        with self.net.backbone.autocast():
            return F.normalize(self.net.backbone.image(x).float(), dim=-1)
