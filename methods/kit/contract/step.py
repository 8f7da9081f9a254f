"""What a penalty sees of one training step."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Teacher:
    """Outputs of the frozen model for the same images and prompts, without gradients."""

    image: Tensor  # (n, dim)
    text: Tensor  # (classes, dim)
    logits: Tensor  # (n, classes)


@dataclass(frozen=True)
class Step:
    """One training step, features normalized.

    ``teacher`` and ``second_logits`` are set when a penalty of the adapter asks for them. With
    several trials, each tensor may have a leading trial axis; penalties never see it.
    """

    labels: Tensor  # (n,)
    image: Tensor  # (n, dim)
    text: Tensor  # (classes, dim)
    logits: Tensor  # (n, classes)
    progress: float
    teacher: Teacher | None = None
    second_logits: Tensor | None = None  # (n, classes), of a second pass with new random draws

    def parts(self) -> list[tuple[Tensor, bool]]:
        """Return its tensors in a fixed order, each with whether it has a trial axis."""
        return [(t, t.dim() > (1 if t is self.labels else 2)) for t in self._tensors()]

    def like(self, tensors: Sequence[Tensor]) -> "Step":
        """Return the same step with other tensors, in the order of ``parts``."""
        labels, image, text, logits, *rest = tensors
        second = rest.pop() if self.second_logits is not None else None
        teacher = Teacher(*rest) if rest else None
        return Step(labels, image, text, logits, self.progress, teacher, second)

    def of(self, trials: slice) -> "Step":
        """Return the step of some of the trials."""
        return self.like([t[trials] if lifted else t for t, lifted in self.parts()])

    def _tensors(self) -> list[Tensor]:
        teacher = [] if self.teacher is None else [*vars(self.teacher).values()]
        second = [] if self.second_logits is None else [self.second_logits]
        return [self.labels, self.image, self.text, self.logits, *teacher, *second]
