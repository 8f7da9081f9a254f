"""Similarity of the gradients of data sets that are trained together."""

import torch
from torch import Tensor

from harness.train.trial_group import TrialGroup
from methods.kit.contract.adapter import Adapter


class GradientAffinity:
    """The mean cosine between the gradients of each two data sets, over the steps of a training.

    The gradient of a step is compared with the last one of every other data set. Parameters that
    depend on the classes (a head) are left out. Nothing is read back from the device.
    """

    def __init__(self, adapter: Adapter, count: int, device: torch.device) -> None:
        owned = adapter.trained().items()
        self.adapter = adapter
        self.shared = {name: p for name, p in owned if not name.startswith("head")}
        self.last: list[Tensor | None] = [None] * count
        self.sums = torch.zeros(count, count, device=device)
        self.counts = [[0] * count for _ in range(count)]

    def after_step(self, task: int, group: TrialGroup) -> None:
        """Add the gradients of a step with a batch of one task, and tell the adapter."""
        if self.shared:
            self._add(task, group.gradients())
        self.adapter.set_tracked("affinity", self.matrix())

    def _add(self, task: int, grads: dict[str, Tensor]) -> None:
        found = [grads.get(name, p.new_zeros(()).expand_as(p)) for name, p in self.shared.items()]
        gradient = torch.cat([g.detach().flatten().float() for g in found])
        gradient = gradient / gradient.norm().clamp_min(1e-30)
        for other, before in enumerate(self.last):
            if before is not None and other != task:
                cosine = gradient @ before
                for i, j in ((task, other), (other, task)):
                    self.sums[i, j] += cosine
                    self.counts[i][j] += 1
        self.last[task] = gradient

    def matrix(self) -> Tensor:
        """(tasks, tasks), symmetric, 1 on the diagonal; 0 for what has not been compared yet."""
        counts = torch.tensor(self.counts, device=self.sums.device).clamp_min(1)
        return self.sums / counts + torch.eye(len(self.last), device=self.sums.device)
