"""Ledger rows, and predictions, whose truth is known."""

import io
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.spec.protocols import harmonic_mean
from harness.tracking.run_record import Run

HASHES = {"data_hash": "d", "template_hash": "t", "transform_hash": "f", "names_hash": "n"}


def run(
    method: str,
    dataset: str,
    seed: int,
    metrics: dict[str, float],
    settings: dict[str, Any] | None = None,
    protocol: str = "few_shot",
    shots: int = 4,
    status: str = "finished",
    **tags: str,
) -> Run:
    """A run with these metrics; ``settings`` are hyper-parameters of its method."""
    settings = {f"method.{k}": str(v) for k, v in (settings or {}).items()}
    configuration = method + "".join(f" {k}={v}" for k, v in settings.items())
    digest = f"{protocol} {configuration} {dataset} {seed} {shots}"
    known = {
        "protocol": protocol,
        "backbone": "embedded",
        "method": method,
        "dataset": dataset,
        "configuration": configuration,
        "shots": str(shots),
        "seed": str(seed),
        "digest": digest,
        "subset_hash": f"s{seed}",
        "backbone_hash": "b",
        **HASHES,
        **tags,
    }
    params = {"method.name": method, "data.shots": str(shots), "seed": str(seed), **settings}
    full = {"params/trainable": 1000.0, "params/stored": 1000.0, "params/inference": 0.0}
    full |= {"bytes/adapter": 4000.0} | metrics
    if {"acc/base", "acc/novel"} <= set(metrics):
        full["acc/hmean"] = harmonic_mean(metrics["acc/base"], metrics["acc/novel"])
    return Run(digest, status, params, full if status == "finished" else {}, known, 0.0)


def grid(
    method: str,
    truth: dict[str, float],
    seeds: Iterable[int],
    noise: Callable[[str, int], float] = lambda dataset, seed: 0.0,
    **other: Any,
) -> list[Run]:
    """few_shot runs with an accuracy for each data set, and noise for each of its seeds."""
    extra = other.pop("metrics", {})
    return [
        run(method, d, s, {"acc/test": mean + noise(d, s), **extra}, **other)
        for d, mean in truth.items()
        for s in seeds
    ]


def predictions(right: np.ndarray, part: str = "test") -> bytes:
    """A predictions.parquet of images that are told right or not."""
    labels = ["cat"] * len(right)
    said = ["cat" if r else "dog" for r in right]
    ids = list(range(len(right)))
    table = pa.table(
        {"part": [part] * len(right), "image": ids, "label": labels, "predicted": said}
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()
