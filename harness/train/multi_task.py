"""One adapter for several data sets: each is a task with its own class names, prompts and labels.

Each step trains on a batch of one task (harness/train/fit.py).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.split import Split
from harness.model.backbone import Backbone
from harness.model.classifier import Answer, Classifier
from harness.model.tower import Prompts
from methods.kit import Adapter, Task
from methods.kit.binding.bound_adapter import BoundAdapter


class TaskClassifier(Classifier):
    """The classifier of one of several data sets.

    A head tells the classes of all of them apart; ``columns`` are those of this one.
    """

    def __init__(
        self, backbone: Backbone, adapter: Adapter, prompts: Prompts, task: int, columns: slice
    ) -> None:
        super().__init__(backbone, adapter, prompts)
        self.task = task
        self.columns = columns

    def __call__(
        self, x: Tensor, bound: BoundAdapter, text: Tensor | None = None, own: bool = False
    ) -> Answer:
        answer = super().__call__(x, bound, text, own)
        if answer.logits.shape[-1] == len(self.prompts):
            return answer
        return Answer(answer.image, answer.text, answer.logits[..., self.columns])


def prompts_of(backbone: Backbone, split: Split) -> list[Prompts]:
    """Return the prompts of each data set that is trained on."""
    return [backbone.prompts(images.templates, images.classnames) for images in split.trains]


def task_of(split: Split, prompts: list[Prompts]) -> Task:
    """Return what a method is attached for: the classes of all data sets, one after another."""
    names = tuple(name for images in split.trains for name in images.classnames)
    longest = max(p.ids.shape[1] for p in prompts)
    tokens = torch.cat([F.pad(p.ids, (0, longest - p.ids.shape[1])) for p in prompts])
    several = tuple(images.name for images in split.trains) if len(split.trains) > 1 else ()
    return Task(names, split.template, tokens, tasks=several)


def task_classifiers(net: Classifier, split: Split) -> dict[str, Classifier]:
    """Return a classifier for each data set of a split, by name, around the adapter of ``net``."""
    nets: dict[str, Classifier] = {}
    start = 0
    for k, prompts in enumerate(prompts_of(net.backbone, split)):
        columns = slice(start, start + len(prompts))
        nets[split.trains[k].name] = TaskClassifier(net.backbone, net.adapter, prompts, k, columns)
        start = columns.stop
    return nets
