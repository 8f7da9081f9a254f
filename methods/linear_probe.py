"""Linear probe: a classifier on frozen image features (baseline of Radford et al., 2021).

Departure: it is trained by the same loop as every method, where papers use L-BFGS with a searched
penalty. It starts at zero and knows nothing of the class names; classes that it was not trained on
are scored zero-shot.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.kit import Adapter, Clip, Method, Task


@dataclass(frozen=True)
class LinearProbe(Method):
    paper = "Radford et al., 2021"
    recipe = {"train.lr": 1e-3}

    bias: bool = True

    @property
    def identity(self) -> bool:
        return False

    def attach(self, clip: Clip, task: Task) -> Adapter:
        adapter = Adapter(clip)
        refs = [adapter.own("head.weight", nn.Parameter(torch.zeros(task.classes, clip.dim)))]
        if self.bias:
            refs.append(adapter.own("head.bias", nn.Parameter(torch.zeros(task.classes))))

        def logits(
            image: Tensor, text: Tensor, scale: Tensor, weight: Tensor, *bias: Tensor
        ) -> Tensor:
            return scale * (image @ weight.mT) + (bias[0] if bias else 0)

        adapter.score(logits, *refs)
        return adapter
