"""How alike the gradients of data sets are that are trained together."""

from collections.abc import Mapping

import torch
from torch import Tensor

from methods.kit.contract.adapter import Adapter


class GradientAffinity:
    """The mean cosine between the gradients of each two data sets, over the steps of a training.

    A step has a batch of one data set; its gradient is compared with the last one of each other
    set. What depends on the classes (a head) stands apart. Nothing is read back from the device.
    """

    def __init__(self, adapter: Adapter, count: int, device: torch.device) -> None:
        owned = adapter.trained().items()
        self.shared = {name: p for name, p in owned if not name.startswith("head")}
        self.last: list[Tensor | None] = [None] * count
        self.sums = torch.zeros(count, count, device=device)
        self.seen = [[0] * count for _ in range(count)]

    def see(self, task: int, grads: Mapping[str, Tensor]) -> None:
        """A step with a batch of this data set has left these gradients, by name."""
        if not self.shared:
            return
        found = [grads.get(name, p.new_zeros(()).expand_as(p)) for name, p in self.shared.items()]
        gradient = torch.cat([g.detach().flatten().float() for g in found])
        gradient = gradient / gradient.norm().clamp_min(1e-30)
        for other, before in enumerate(self.last):
            if before is not None and other != task:
                cosine = gradient @ before
                for i, j in ((task, other), (other, task)):
                    self.sums[i, j] += cosine
                    self.seen[i][j] += 1
        self.last[task] = gradient

    def matrix(self) -> Tensor:
        """(tasks, tasks), symmetric, 1 on the diagonal; 0 for what has not been compared yet."""
        seen = torch.tensor(self.seen, device=self.sums.device).clamp_min(1)
        return self.sums / seen + torch.eye(len(self.last), device=self.sums.device)
