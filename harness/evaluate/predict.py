"""Predictions of a classifier, one for every image, and what its method reports of itself."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.data.split import HeldOutSplit, Images
from harness.model.classifier import Classifier
from harness.model.out_of_memory import ChunkedCall

Table = dict[str, dict[str, float]]  # row, column, number


@dataclass(frozen=True)
class Predictions:
    """One row per image of a test part. ``label`` and ``predicted`` index ``classnames``."""

    part: str
    ids: np.ndarray  # (n,) row of the data set
    label: np.ndarray  # (n,)
    predicted: np.ndarray  # (n,)
    p_label: np.ndarray  # (n,) probability of the true class
    p_predicted: np.ndarray  # (n,)

    @property
    def accuracy(self) -> float:
        """Per cent."""
        return 100 * float((self.label == self.predicted).mean())


@torch.no_grad()
def predict(net: Classifier, images: Images, recurring: bool = False) -> Predictions:
    """Return predictions for all images; the text is encoded once.

    ``recurring``: the images are predicted several times, in this run or the next.
    """
    net.adapter.set_tracked("task", net.task)
    bound = net.adapter.bind()
    text = net.text(bound)
    inputs, device = net.inputs(images, recurring), net.backbone.device
    logits = ChunkedCall(lambda x: net(x.to(device), bound, text).logits.float())
    batches = inputs.split(net.backbone.image.shape.batch_size(device))
    probabilities = torch.cat([logits(x) for x in batches]).softmax(-1).cpu()
    highest, predicted = probabilities.max(-1)
    return Predictions(
        part=images.name,
        ids=np.array(images.ids, dtype=np.int64),
        label=_numpy(images.labels),
        predicted=_numpy(predicted),
        p_label=_numpy(probabilities.gather(1, images.labels[:, None])[:, 0]),
        p_predicted=_numpy(highest),
    )


@torch.no_grad()
def method_tables(net: Classifier, images: Images) -> dict[str, Table]:
    """Return what the method reports of itself, over images without augmentation."""
    reports = net.adapter.wiring.reports
    net.adapter.set_tracked("task", net.task)
    bound = net.adapter.bind(collect_reports=True)
    if any(report.key is not None for report in reports):
        text, device = net.text(bound), net.backbone.device
        for x in net.inputs(images).split(net.backbone.image.shape.batch_size(device)):
            net(x.to(device), bound, text)
    return bound.tables()


def predict_test(nets: Mapping[str, Classifier], held_out: HeldOutSplit) -> list[Predictions]:
    """Return predictions on the test parts, read once, each by the classifier of its name."""
    return [predict(nets[part.name], part) for part in held_out.open()]


def _numpy(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.numpy()
    return array
