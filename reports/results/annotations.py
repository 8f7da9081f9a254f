"""Columns of a leaderboard beyond means: rank, gain over zero-shot, image noise, health flags."""

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import special

from reports.statistics.bootstrap import part_slopes
from reports.statistics.shared_ranks import shared_ranks

REFERENCE_METHOD = "zero_shot"
ORIGIN_TAGS = ("versions", "git_commit", "test_parts")  # tags that say how a run came about


def annotate_rows(rows: pd.DataFrame, cells: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Add the columns ``rank``, ``gain``, ``items`` and ``flags``.

    ``metrics`` are the accuracies of the protocol, the headline last. ``gain`` is the headline mean
    over zero-shot's on the same data, in points. ``items`` is the half-width of the 95 % interval
    due to the choice of test images alone, in points (NaN where the number of images is unknown).
    """
    parts = metrics[:-1] or metrics
    ranks = shared_ranks(cells, parts)
    cells = _slim(cells, parts)
    rows = rows.copy()
    rows["rank"] = [ranks.get(group, math.nan) for group in rows["group"]]
    rows["gain"] = _gains(rows, metrics[-1])
    rows["items"] = _image_noise(rows, cells, parts)
    runs: dict[str, dict[str, pd.DataFrame]] = {}
    for (group, dataset), part in cells.groupby(["group", "dataset"]):
        runs.setdefault(str(group), {})[str(dataset)] = part
    zero_shot = cells[cells["method"] == REFERENCE_METHOD]
    rows["flags"] = [
        ", ".join(_flags(row, rows, runs.get(row["group"], {}), zero_shot, parts))
        for _, row in rows.iterrows()
    ]
    return rows


def _slim(cells: pd.DataFrame, parts: Sequence[str]) -> pd.DataFrame:
    """Keep the columns used here, texts as plain objects: rows are selected many times."""
    texts = dict.fromkeys(("group", "method", "dataset", *ORIGIN_TAGS), object)
    numbers = ("shots", "seed", "params/trainable", *parts)
    return cells[[c for c in (*texts, *numbers) if c in cells]].astype(texts)


def _gains(rows: pd.DataFrame, headline: str) -> pd.Series:
    zero_shot = rows[rows["method"] == REFERENCE_METHOD].drop_duplicates("dataset")
    means = zero_shot.set_index("dataset")[f"{headline}_mean"]
    return rows[f"{headline}_mean"] - rows["dataset"].map(means).astype(float)


# --- test images -----------------------------------------------------------------------------


def _image_noise(rows: pd.DataFrame, cells: pd.DataFrame, parts: Sequence[str]) -> list[float]:
    """Return Wilson's half-widths of the parts, carried through harmonic mean and average."""
    sizes = {d: _part_sizes(group) for d, group in cells.groupby("dataset")}
    halves = {
        (row["group"], row["dataset"]): _wilson_halves(row, sizes.get(row["dataset"], {}), parts)
        for _, row in rows[~rows["average"]].iterrows()
    }
    datasets = [d for d in rows["dataset"].unique() if d in sizes]
    noise = []
    for _, row in rows.iterrows():
        names = datasets if row["average"] else [row["dataset"]]
        own = [halves[row["group"], name] for name in names]
        part_noise = np.sqrt((np.array(own) ** 2).sum(0)) / len(own)  # (part,)
        slopes = part_slopes([float(row[f"{part}_mean"]) / 100 for part in parts])
        noise.append(float(np.sqrt(((np.array(slopes) * part_noise) ** 2).sum())))
    return noise


def _wilson_halves(
    row: pd.Series, sizes: dict[str, dict[str, int]], parts: Sequence[str]
) -> list[float]:
    """Return half of Wilson's 95 % interval of each part's accuracy, in points."""
    z = -float(special.ndtri(0.025))
    halves = []
    for part in parts:
        n = sizes.get(part.removeprefix("acc/"), {}).get("images", 0) or math.nan
        p = float(row[f"{part}_mean"]) / 100 * n / n
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
        halves.append(50 * (min(centre + half, 1.0) - max(centre - half, 0.0)))
    return halves


def _part_sizes(cells: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return classes and images of each test part; older runs did not record them."""
    texts = [t for t in cells["test_parts"] if t]
    sizes: dict[str, dict[str, int]] = json.loads(texts[-1]) if texts else {}
    return sizes


# --- health ----------------------------------------------------------------------------------


def _flags(
    row: pd.Series,
    rows: pd.DataFrame,
    runs: Mapping[str, pd.DataFrame],
    zero_shot: pd.DataFrame,
    parts: Sequence[str],
) -> list[str]:
    """Return what a reader should know before trusting a row; most rows have no flag.

    ``runs`` are those of the row's group by data set, ``zero_shot`` those of zero-shot.
    """
    own = [r for d, r in runs.items() if row["average"] or d == row["dataset"]]
    if not own:
        return ["no finished run"]
    flags = ["chance level"] if any(_at_chance_level(r, parts) for r in own) else []
    if row["method"] != REFERENCE_METHOD:
        flags += _below_zero_shot(row, rows)
        if not zero_shot.empty and _dead(pd.concat(own), zero_shot, parts):
            flags.append("dead adapter")
    if min(len(set(r["seed"])) for r in own) == 1:
        flags.append("single seed")
    if len(set().union(*(r["versions"] for r in own))) > 1:
        flags.append("mixed versions")
    if len(set().union(*(r["git_commit"] for r in own))) > 1:
        flags.append("mixed commits")
    if row["missing"] or row["failed"]:
        flags.append("empty cells")
    return flags


def _below_zero_shot(row: pd.Series, rows: pd.DataFrame) -> list[str]:
    if row["gain"] < 0:
        return ["below zero-shot"]
    if not row["average"]:
        return []
    below = rows[(rows["group"] == row["group"]) & (rows["gain"] < 0) & ~rows["average"]]
    names = ", ".join(below["dataset"])
    return [f"below zero-shot on {names}"] if names else []


def _at_chance_level(runs: pd.DataFrame, parts: Sequence[str]) -> bool:
    """Return whether an accuracy is within two standard errors of 1 / classes, or below."""
    sizes = _part_sizes(runs)
    for part in parts:
        size = sizes.get(part.removeprefix("acc/"))
        if size is None:
            continue
        chance = 1 / size["classes"]
        error = math.sqrt(chance * (1 - chance) / size["images"])
        if (runs[part].to_numpy() / 100 <= chance + 2 * error).any():
            return True
    return False


def _dead(own: pd.DataFrame, zero_shot: pd.DataFrame, parts: Sequence[str]) -> bool:
    """Return whether every run trains parameters, yet has zero-shot's accuracies."""
    if not (own["params/trainable"] > 0).all():
        return False
    cell = ["dataset", "shots", "seed"]
    needed = [*cell, *parts]
    both = own[needed].merge(zero_shot[needed], on=cell, suffixes=("", "_zero"))
    return len(both) == len(own) and all((both[p] == both[f"{p}_zero"]).all() for p in parts)
