"""What a training step reads."""

from dataclasses import dataclass

from torch import Tensor

from harness.augment import PLAIN, View


@dataclass(frozen=True)
class Batch:
    """Some of the training images: what the classifier reads, where they stand, how they look.

    Where trials see different images, the trials lead every tensor, and ``feeds`` says of each
    trial which of the different sets of training images it sees.
    """

    x: Tensor
    labels: Tensor
    rows: Tensor  # among the training images
    look: View | None = PLAIN
    feeds: tuple[int, ...] | None = None
