"""Runs of two candidates paired: the same data set, shots, seed, images and weights."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.spec.quantities import HARMONIC_MEANS
from methods.kit.core.errors import UsageError
from reports.results.board import PAIRING_HASHES
from reports.results.selection import Candidate

CELL = ["dataset", "shots", "seed"]
HASH_OF = {
    "data_hash": "images",
    "template_hash": "template",
    "transform_hash": "image transform",
    "names_hash": "class names",
    "subset_hash": "few-shot subset",
    "backbone_hash": "backbone weights",
}


@dataclass(frozen=True)
class Paired:
    """Two candidates and their common cells.

    ``cells`` has a row per (data set, shots, seed) that both have, with columns ending in _a and
    _b. ``notes`` say what could not be paired and why.
    """

    a: Candidate
    b: Candidate
    cells: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(sorted(self.cells["dataset"].unique()))

    @property
    def seeds(self) -> int:
        """The largest number of seeds of a data set."""
        return int(self.cells.groupby("dataset")["seed"].nunique().max())

    def values(self, metric: str) -> list[np.ndarray]:
        """Return the accuracies (method, part, seed) of each data set; H has two parts."""
        parts = metric_parts(metric)
        tables = (
            self.cells[self.cells["dataset"] == name].sort_values("seed") for name in self.datasets
        )
        return [
            np.array([[rows[f"{p}_{side}"] for p in parts] for side in "ab"], dtype=float)
            for rows in tables
        ]


def metric_parts(metric: str) -> tuple[str, ...]:
    """Return the accuracies of a metric: itself, or the two that H is the harmonic mean of."""
    return HARMONIC_MEANS.get(metric, (metric,))


def pair_runs(a: Candidate, b: Candidate, metric: str) -> Paired:
    """Pair the runs of two candidates. Raises UsageError, with the reason, for none in common."""
    metrics = {metric, *metric_parts(metric)}
    left, right = _with_metrics(a, metrics), _with_metrics(b, metrics)
    both = left.merge(right, on=CELL, suffixes=("_a", "_b"))
    same = np.all([both[f"{h}_a"] == both[f"{h}_b"] for h in PAIRING_HASHES], axis=0)
    cells = both[same].sort_values(["started_a", "started_b"])
    cells = cells.drop_duplicates(CELL, keep="last").sort_values(CELL, ignore_index=True)
    notes = _refused(both, cells) + _unpaired(a, left, cells) + _unpaired(b, right, cells)
    if cells.empty:
        why = "; ".join(notes) or "they share no data set and seed"
        raise UsageError(f"{a.name} and {b.name}: nothing to compare: {why}")
    _check_shots(cells)
    return Paired(a, b, cells, tuple(notes))


def _with_metrics(candidate: Candidate, metrics: set[str]) -> pd.DataFrame:
    missing = metrics - set(candidate.rows.columns)
    if missing:
        raise UsageError(f"{candidate.name}: no run has recorded {', '.join(sorted(missing))}")
    return candidate.rows.dropna(subset=sorted(metrics))


def _without(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose cell is not among the cells."""
    paired = pd.MultiIndex.from_frame(cells[CELL])
    return rows[~pd.MultiIndex.from_frame(rows[CELL]).isin(paired)]


def _refused(both: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """Return for each data set how many pairs are not on the same data, and what differs."""
    notes = []
    for name, rows in _without(both, cells).groupby("dataset"):
        differs = [what for h, what in HASH_OF.items() if (rows[f"{h}_a"] != rows[f"{h}_b"]).any()]
        count = len(rows.drop_duplicates(CELL))
        runs = "1 pair of runs" if count == 1 else f"{count} pairs of runs"
        notes.append(f"{name}: {runs} refused, {' and '.join(differs)} differ")
    return notes


def _unpaired(candidate: Candidate, rows: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    alone = _without(rows.drop_duplicates(CELL), cells)
    if alone.empty:
        return []
    runs = "1 run" if len(alone) == 1 else f"{len(alone)} runs"
    where = ", ".join(sorted(alone["dataset"].unique()))
    return [f"{candidate.name}: {runs} left out, without a partner ({where})"]


def _check_shots(cells: pd.DataFrame) -> None:
    for name, rows in cells.groupby("dataset"):
        counts = sorted(rows["shots"].unique())
        if len(counts) > 1:
            listed = " and ".join(str(c) for c in counts)
            raise UsageError(
                f"{name}: both have runs with {listed} shots; choose with a setting,"
                f' such as "{rows["method_a"].iloc[0]} shots={counts[0]}"'
            )
