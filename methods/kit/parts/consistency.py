"""Penalties on the difference between the adapted and the frozen model.

    logits * KL(teacher || student) + image * d(image features) + text * d(text features)

KL is a mean over images; d is 1 - cosine, a mean over images or classes, or L1, a mean over
entries too. Published settings: PromptSRC (Khattak et al., 2023): L1 with weight 10 for images and
25 for texts, and a KL divided by the number of classes (weight 1 / classes here); KgCoOp and TCP:
cosine on texts, weight 8. The frozen outputs are computed once where images are not augmented;
random augmentation costs one forward pass of the frozen image tower a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from methods.kit.contract.adapter import Adapter
from methods.kit.contract.step import Step

Distance = Literal["cosine", "l1"]


@dataclass(frozen=True)
class Weights:
    """The weight of each term; terms of weight 0 are not computed."""

    logits: float = 0.0
    image: float = 0.0
    text: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.logits or self.image or self.text)


def penalise_inconsistency(
    adapter: Adapter,
    weights: Weights,
    distance: Distance = "cosine",
    exclusive: Sequence[str] = (),
) -> None:
    """Penalise the distance to the frozen model. ``exclusive``: as in `Adapter.penalise`."""
    if weights:
        fn = partial(penalty, weights=weights, distance=distance)
        adapter.penalise(fn, teacher=True, exclusive=exclusive)


def penalty(step: Step, weights: Weights, distance: Distance) -> Tensor:
    """Return the weighted sum for one step."""
    frozen = step.teacher
    assert frozen is not None
    terms = []
    if weights.logits:
        terms.append(weights.logits * divergence(step.logits, frozen.logits))
    if weights.image:
        terms.append(weights.image * feature_distance(step.image, frozen.image, distance))
    if weights.text:
        terms.append(weights.text * feature_distance(step.text, frozen.text, distance))
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return KL(teacher || student) of logits (n, classes), a mean over images."""
    log_p, log_q = teacher.float().log_softmax(-1), student.float().log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean()


def feature_distance(student: Tensor, teacher: Tensor, distance: Distance) -> Tensor:
    """Return the mean distance of normalized features (n, dim)."""
    if distance == "l1":
        return F.l1_loss(student, teacher)
    return 1 - (student * teacher).sum(-1).mean()
