"""A site's source whose truth is known: planted runs, each with answers that give its accuracy."""

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.spec.protocols import harmonic_mean
from harness.tracking.run_record import Run
from reports.site.records import Curve, StoredSweep, ordered_runs, public_run
from tests.reports import known_runs

HALVES = ("base", "novel")


class Planted:
    """Runs as they are given; base_to_novel runs answer ``images`` images of each half."""

    def __init__(self, runs: Sequence[Run], images: int = 40, classes: int = 5) -> None:
        self.images, self.classes = images, classes
        self.runs = ordered_runs(public_run(run) for run in runs)
        self.tuned = ordered_runs((public_run(run) for run in runs), tested=False)
        self.sweeps: dict[str, StoredSweep] = {}

    def file(self, run: Run) -> bytes | None:
        there = {f"acc/{half}" for half in HALVES} <= set(run.metrics)
        return answers(run, self.images, self.classes) if there else None

    def curve(self, run: Run) -> Curve:
        return [(i + 1, 2.0 / (i + 1)) for i in range(20)]


def suite(
    methods: int = 4, datasets: Sequence[str] = ("x", "y"), seeds: int = 2, images: int = 40
) -> list[Run]:
    """base_to_novel runs with accuracies that ``images`` images can have."""
    rng = np.random.default_rng(0)
    names = ["zero_shot", "lora", "adaring", "clip_adapter", *(f"method-{i}" for i in range(40))]
    runs = []
    for m, name in enumerate(names[:methods]):
        for dataset in datasets:
            for seed in range(1, seeds + 1):
                right = rng.integers(images // 2 + m % 5, images, 2)
                base, novel = (100 * float(r) / images for r in right)
                metrics = {"acc/base": base, "acc/novel": novel, "acc/val_hmean": 60.0}
                metrics |= {"params/trainable": 0.0 if m == 0 else 500.0 * 2**m}
                metrics |= {"time/train_seconds": 1.0 + m, "time/step_ms": 3.0 + m}
                runs.append(
                    known_runs.run(name, dataset, seed, metrics, protocol="base_to_novel",
                                git_commit=f"{'c' * 39}{seed}", git_dirty="false")
                )  # fmt: skip
    return [replace(run, started=float(i)) for i, run in enumerate(runs)]


def answers(run: Run, images: int, classes: int) -> bytes:
    """As many right answers in each half as the run's accuracies say; the others name the next."""
    columns: dict[str, list[object]] = {
        n: [] for n in ("part", "image", "label", "predicted", "p_label", "p_predicted")
    }
    for h, half in enumerate(HALVES):
        right = round(run.metrics[f"acc/{half}"] * images / 100)
        for i in range(images):
            label = f"{half}-{i % classes}"
            columns["part"].append(half)
            columns["image"].append(h * images + i)
            columns["label"].append(label)
            columns["predicted"].append(label if i < right else f"{half}-{(i + 1) % classes}")
            columns["p_label"].append(0.9 if i < right else 0.1)
            columns["p_predicted"].append(0.9 if i < right else 0.5 + i / (4 * images))
    file = io.BytesIO()
    table = pa.table(columns)
    floats = [table.schema.get_field_index(n) for n in ("p_label", "p_predicted")]
    for place in floats:
        name = table.schema.names[place]
        table = table.set_column(place, name, table[name].cast(pa.float32()))
    pq.write_table(table, file)
    return file.getvalue()


def of(runs: Sequence[Run], method: str, dataset: str, seed: int) -> Run:
    return next(r for r in runs if (r.tags["method"], r.tags["dataset"], r.tags["seed"])
                == (method, dataset, str(seed)))  # fmt: skip


def h(run: Run) -> float:
    return harmonic_mean(run.metrics["acc/base"], run.metrics["acc/novel"])


def average_h(runs: Sequence[Run]) -> float:
    """H of the averages over data sets, of runs of one seed."""
    base, novel = (float(np.mean([r.metrics[f"acc/{h}"] for r in runs])) for h in HALVES)
    return harmonic_mean(base, novel)
