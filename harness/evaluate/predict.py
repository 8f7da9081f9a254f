"""Scores of a classifier on images: accuracy, calibration, and a prediction for every image."""

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
    """One row an image of a test part. ``label`` and ``predicted`` index ``classnames``."""

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
def predict(net: Classifier, images: Images, again: bool = False) -> Predictions:
    """Predictions for all images; the text is encoded once. ``again``: they are asked repeatedly,
    in a run or by the next."""
    net.adapter.set_tracked("task", net.task)
    bound = net.adapter.bind()
    text = net.text(bound)
    inputs, device = net.inputs(images, again), net.backbone.device
    logits = ChunkedCall(lambda x: net(x.to(device), bound, text).logits.float())
    parts = inputs.split(net.backbone.image.shape.at_once(device))
    chances = torch.cat([logits(x) for x in parts]).softmax(-1).cpu()
    top, predicted = chances.max(-1)
    mine = chances.gather(1, images.labels[:, None])[:, 0]
    return Predictions(
        part=images.name,
        ids=np.array(images.ids, dtype=np.int64),
        label=_numpy(images.labels),
        predicted=_numpy(predicted),
        p_label=_numpy(mine),
        p_predicted=_numpy(top),
    )


@torch.no_grad()
def method_tables(net: Classifier, images: Images) -> dict[str, Table]:
    """What the method reports of itself, over images as they are."""
    reports = net.adapter.wiring.reports
    net.adapter.set_tracked("task", net.task)
    bound = net.adapter.bind(collect_reports=True)
    if any(report.key is not None for report in reports):
        text, device = net.text(bound), net.backbone.device
        for x in net.inputs(images).split(net.backbone.image.shape.at_once(device)):
            net(x.to(device), bound, text)
    return bound.tables()


def predict_test(nets: Mapping[str, Classifier], held_out: HeldOutSplit) -> list[Predictions]:
    """Predictions on the test parts, read once, each by the classifier of its label space."""
    return [predict(nets[part.name], part) for part in held_out.open()]


def _numpy(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.numpy()
    return array
