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

    def __len__(self) -> int:
        """Images of one trial."""
        return self.labels.shape[-1]

    def part(self, start: int, stop: int) -> "Batch":
        """Some of its images."""
        axis, count = int(self.feeds is not None), stop - start
        x, labels, rows = (t.narrow(axis, start, count) for t in (self.x, self.labels, self.rows))
        return Batch(x, labels, rows, self.look, self.feeds)
