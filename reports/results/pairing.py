"""Runs of two entrants side by side: the same data set, shots, seed, images and weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.spec.quantities import HARMONIC_MEANS
from methods.kit.core.errors import UsageError
from reports.results.board import PAIRING_HASHES
from reports.results.selection import Candidate

CELL = ["dataset", "shots", "seed"]
DIFFERS = {
    "data_hash": "images",
    "template_hash": "template",
    "transform_hash": "image transform",
    "names_hash": "class names",
    "subset_hash": "few-shot draw",
    "backbone_hash": "backbone weights",
}


@dataclass(frozen=True)
class Paired:
    """``cells`` has a row a (data set, shots, seed) that both have, columns ending in _a and _b;
    ``notes`` say what could not be paired and why."""

    a: Candidate
    b: Candidate
    cells: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(sorted(self.cells["dataset"].unique()))

    @property
    def seeds(self) -> int:
        """The most seeds that a data set has."""
        return int(self.cells.groupby("dataset")["seed"].nunique().max())

    def values(self, metric: str) -> list[np.ndarray]:
        """For each data set the accuracies (method, part, seed); H has the parts base and novel."""
        found = []
        for name in self.datasets:
            rows = self.cells[self.cells["dataset"] == name].sort_values("seed")
            found.append(
                np.array(
                    [[rows[f"{p}_{side}"] for p in metric_parts(metric)] for side in "ab"],
                    dtype=float,
                )
            )
        return found


def metric_parts(metric: str) -> tuple[str, ...]:
    """The accuracies a metric is made of: itself, or the two that H is the harmonic mean of."""
    return HARMONIC_MEANS.get(metric, (metric,))


def pair_runs(a: Candidate, b: Candidate, metric: str) -> Paired:
    """What two entrants have in common. Raises UsageError, with the reason, when it is nothing."""
    needed = {metric, *metric_parts(metric)}
    left, right = _with(a, needed), _with(b, needed)
    both = left.merge(right, on=CELL, suffixes=("_a", "_b"))
    same = np.all([both[f"{h}_a"] == both[f"{h}_b"] for h in PAIRING_HASHES], axis=0)
    cells = both[same].sort_values(["started_a", "started_b"])
    cells = cells.drop_duplicates(CELL, keep="last").sort_values(CELL, ignore_index=True)
    notes = _refused(both, cells) + _alone(a, left, cells) + _alone(b, right, cells)
    if cells.empty:
        why = "; ".join(notes) or "they share no data set and seed"
        raise UsageError(f"{a.name} and {b.name}: nothing to compare: {why}")
    _one_shot_count(cells)
    return Paired(a, b, cells, tuple(notes))


def _with(entrant: Candidate, metrics: set[str]) -> pd.DataFrame:
    missing = metrics - set(entrant.rows.columns)
    if missing:
        raise UsageError(f"{entrant.name}: no run has recorded {', '.join(sorted(missing))}")
    return entrant.rows.dropna(subset=sorted(metrics))


def _refused(both: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """For each data set how many cells have no runs on the same data, and what differs."""
    kept = pd.MultiIndex.from_frame(cells[CELL])
    odd = both[~pd.MultiIndex.from_frame(both[CELL]).isin(kept)]
    notes = []
    for name, rows in odd.groupby("dataset"):
        differs = [what for h, what in DIFFERS.items() if (rows[f"{h}_a"] != rows[f"{h}_b"]).any()]
        count = rows.drop_duplicates(CELL).shape[0]
        runs = "1 pair of runs" if count == 1 else f"{count} pairs of runs"
        notes.append(f"{name}: {runs} refused, {' and '.join(differs)} differ")
    return notes


def _alone(entrant: Candidate, rows: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    mine = rows.drop_duplicates(CELL)
    alone = mine[~pd.MultiIndex.from_frame(mine[CELL]).isin(pd.MultiIndex.from_frame(cells[CELL]))]
    if alone.empty:
        return []
    runs = "1 run" if len(alone) == 1 else f"{len(alone)} runs"
    where = ", ".join(sorted(alone["dataset"].unique()))
    return [f"{entrant.name}: {runs} left out, without a partner ({where})"]


def _one_shot_count(cells: pd.DataFrame) -> None:
    for name, rows in cells.groupby("dataset"):
        counts: Sequence[int] = sorted(rows["shots"].unique())
        if len(counts) > 1:
            listed = " and ".join(str(c) for c in counts)
            raise UsageError(
                f"{name}: both have runs with {listed} shots; choose with a setting,"
                f' such as "{rows["method_a"].iloc[0]} shots={counts[0]}"'
            )
