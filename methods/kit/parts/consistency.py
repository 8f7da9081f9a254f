"""Staying near the frozen model: penalties on what the adapted model says differently.

    logits * KL(teacher || student) + image * d(image features) + text * d(text features)

KL is a mean over images of the divergence between the two predictions; d is 1 - cosine, a mean
over images or classes, or L1, a mean over entries too (PromptSRC, Khattak et al., 2023: L1 with
weights 10 for images and 25 for texts, and a KL that is also divided by the number of classes, so
its weight 1 is 1 / classes here; KgCoOp and TCP: cosine on texts, weight 8). Any method may call
:func:`hang`. The frozen model's side is computed once where images are not augmented; with random
augmentation it costs a forward pass of the frozen image tower a step.
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
    """What each term weighs; nothing is computed for a term of weight 0."""

    logits: float = 0.0
    image: float = 0.0
    text: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.logits or self.image or self.text)


def attach_consistency(
    adapter: Adapter, weights: Weights, distance: Distance = "cosine", exclusive: Sequence[str] = ()
) -> None:
    """Penalise the distance to the frozen model; with ``exclusive``, for those parameters only."""
    if weights:
        fn = partial(penalty, weights=weights, distance=distance)
        adapter.penalise(fn, teacher=True, exclusive=exclusive)


def penalty(step: Step, weights: Weights, distance: Distance) -> Tensor:
    """The weighted sum for one step."""
    frozen = step.teacher
    assert frozen is not None
    terms = []
    if weights.logits:
        terms.append(weights.logits * divergence(step.logits, frozen.logits))
    if weights.image:
        terms.append(weights.image * distant(step.image, frozen.image, distance))
    if weights.text:
        terms.append(weights.text * distant(step.text, frozen.text, distance))
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of logits (n, classes), a mean over images."""
    theirs, ours = teacher.float().log_softmax(-1), student.float().log_softmax(-1)
    return (theirs.exp() * (theirs - ours)).sum(-1).mean()


def distant(student: Tensor, teacher: Tensor, distance: Distance) -> Tensor:
    """The mean distance of normalised features (n, dim)."""
    if distance == "l1":
        return F.l1_loss(student, teacher)
    return 1 - (student * teacher).sum(-1).mean()
