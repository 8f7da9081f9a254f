"""One adapter for several data sets: each is a task with its own class names, prompts and labels.

Each step trains on a batch of one task (harness/train/fit.py).
"""

import torch
import torch.nn.functional as F

from harness.data.split import Split
from harness.model.backbone import Backbone
from harness.model.classifier import Classifier
from harness.model.prompt_packing import Prompts
from methods.kit import Task


def training_prompts(backbone: Backbone, split: Split) -> list[Prompts]:
    """Return the prompts of each data set that is trained on."""
    return [backbone.prompts(images.templates, images.classnames) for images in split.trains]


def training_task(split: Split, prompts: list[Prompts]) -> Task:
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
    for task, prompts in enumerate(training_prompts(net.backbone, split)):
        columns = slice(start, start + len(prompts))
        nets[split.trains[task].name] = Classifier(
            net.backbone, net.adapter, prompts, task=task, columns=columns
        )
        start = columns.stop
    return nets
