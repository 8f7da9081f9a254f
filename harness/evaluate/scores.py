"""Accuracy and calibration of predictions."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from harness.evaluate.predict import Predictions
from harness.spec import protocols

BINS = 15


def expected_calibration_error(predictions: Sequence[Predictions]) -> float:
    """ECE in per cent over 15 equal bins of confidence (Guo et al., 2017), all parts pooled."""
    confidence = np.concatenate([p.p_predicted for p in predictions]).astype(np.float64)
    correct = np.concatenate([p.label == p.predicted for p in predictions])
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, confidence - correct, BINS)
    return 100 * float(np.abs(gaps).sum()) / len(confidence)


def scores(predictions: Sequence[Predictions], main: Sequence[str]) -> dict[str, float]:
    """Return acc/<part> for each part, their H or mean, and ece/test of the main parts.

    acc/targets is the mean over other data sets, acc/mean the mean over data sets that are trained
    together, acc/hmean_all is H where both halves are classified among all names.
    """
    metrics = {f"acc/{p.part}": p.accuracy for p in predictions}
    for suffix in ("", "_all"):
        halves = [f"acc/base{suffix}", f"acc/novel{suffix}"]
        if set(halves) <= set(metrics):
            base, novel = (metrics[half] for half in halves)
            metrics[f"acc/hmean{suffix}"] = protocols.harmonic_mean(base, novel)
    own = [p for p in predictions if p.part in main]
    others = [p.accuracy for p in predictions if p.part not in main]
    if others and "acc/base" not in metrics:
        metrics["acc/targets"] = fmean(others)
    if len(own) > 1 and "acc/base" not in metrics:
        metrics["acc/mean"] = fmean(p.accuracy for p in own)
    metrics["ece/test"] = expected_calibration_error(own)
    return metrics


def val_scores(predictions: Sequence[Predictions]) -> dict[str, float]:
    """Return acc/val on the trained classes; with novel classes acc/val_novel and their H.

    For data sets that are trained together, the mean and each one's acc/val_<name>.
    """
    accuracies = {p.part: p.accuracy for p in predictions}
    if len(predictions) > 1 and "novel" not in accuracies:
        each = {f"acc/val_{part}": accuracy for part, accuracy in accuracies.items()}
        return {"acc/val": fmean(each.values()), **each}
    metrics = {}
    for part, accuracy in accuracies.items():
        metrics["acc/val_novel" if part == "novel" else "acc/val"] = accuracy
    if "acc/val_novel" in metrics:
        both = protocols.harmonic_mean(metrics["acc/val"], metrics["acc/val_novel"])
        metrics["acc/val_hmean"] = both
    return metrics
