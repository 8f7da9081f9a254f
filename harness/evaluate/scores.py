"""Accuracy and calibration of predictions."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from harness.evaluate.predict import Predictions
from harness.spec import protocols

BINS = 15


def expected_calibration_error(predictions: list[Predictions]) -> float:
    """ECE in per cent over 15 equal bins of confidence (Guo et al., 2017), all parts pooled."""
    confidence = np.concatenate([p.p_predicted for p in predictions]).astype(np.float64)
    right = np.concatenate([p.label == p.predicted for p in predictions])
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, confidence - right, BINS)
    return 100 * float(np.abs(gaps).sum()) / len(confidence)


def scores(predictions: list[Predictions], main: Sequence[str]) -> dict[str, float]:
    """acc/<part> for each part, their H or the mean over targets, ece/test of the main parts.

    acc/mean is the mean over data sets that are trained together; acc/hmean_all is H where both
    halves are told apart among all names.
    """
    metrics = {f"acc/{p.part}": p.accuracy for p in predictions}
    halves = [(f"acc/base{s}", f"acc/novel{s}", f"acc/hmean{s}") for s in ("", "_all")]
    for base, novel, both in halves:
        if {base, novel} <= set(metrics):
            metrics[both] = protocols.harmonic_mean(metrics[base], metrics[novel])
    beside = [p.accuracy for p in predictions if p.part not in main]
    if beside and "acc/base" not in metrics:
        metrics["acc/targets"] = fmean(beside)
    own = [p for p in predictions if p.part in main]
    if len(own) > 1 and "acc/base" not in metrics:
        metrics["acc/mean"] = fmean(p.accuracy for p in own)
    metrics["ece/test"] = expected_calibration_error(own)
    return metrics


def val_scores(predictions: list[Predictions]) -> dict[str, float]:
    """acc/val on the classes trained on; with novel classes also acc/val_novel and their H.

    Of data sets that are trained together the mean, and each one's acc/val_<name>.
    """
    metrics = {}
    if len(predictions) > 1 and "novel" not in {p.part for p in predictions}:
        each = {f"acc/val_{p.part}": p.accuracy for p in predictions}
        return {"acc/val": fmean(each.values()), **each}
    for p in predictions:
        metrics["acc/val_novel" if p.part == "novel" else "acc/val"] = p.accuracy
    if "acc/val_novel" in metrics:
        both = protocols.harmonic_mean(metrics["acc/val"], metrics["acc/val_novel"])
        metrics["acc/val_hmean"] = both
    return metrics
