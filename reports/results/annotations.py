"""What a leaderboard says beyond means: shared ranks, gains, noise of test images, health."""

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from reports.statistics.mcnemar import part_slopes
from reports.statistics.shared_ranks import shared_ranks

REFERENCE_METHOD = "zero_shot"
ORIGIN_TAGS = ("versions", "git_commit", "test_parts")  # tags that say how a run came about


def annotate_rows(rows: pd.DataFrame, cells: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """The rows with the columns ``rank``, ``gain``, ``items`` and ``flags``.

    ``metrics`` are the accuracies of the protocol, the one that ranks last. ``gain`` is the mean
    over zero-shot's on the same data, in points; ``items`` half of the 95 % interval that the
    choice of test images alone gives the ranking metric (NaN where it is not known).
    """
    parts = metrics[:-1] or metrics
    ranks = shared_ranks(cells, parts)
    cells = _needed(cells, parts)
    found = rows.copy()
    found["rank"] = [ranks.get(group, math.nan) for group in rows["group"]]
    found["gain"] = _gains(rows, metrics[-1])
    found["items"] = _items(rows, cells, parts)
    runs: dict[str, dict[str, pd.DataFrame]] = {}
    for (group, dataset), part in cells.groupby(["group", "dataset"]):
        runs.setdefault(str(group), {})[str(dataset)] = part
    zero = cells[cells["method"] == REFERENCE_METHOD]
    found["flags"] = [
        _flags(row, found, runs.get(row["group"], {}), zero, parts) for _, row in found.iterrows()
    ]
    return found


def _needed(cells: pd.DataFrame, parts: Sequence[str]) -> pd.DataFrame:
    """The columns that are looked at here, texts as plain objects: rows are picked many times."""
    texts = dict.fromkeys(("group", "method", "dataset", *ORIGIN_TAGS), object)
    numbers = ("shots", "seed", "params/trainable", *parts)
    return cells[[c for c in (*texts, *numbers) if c in cells]].astype(texts)


def _gains(rows: pd.DataFrame, headline: str) -> list[float]:
    zero = rows[rows["method"] == REFERENCE_METHOD].drop_duplicates("dataset").set_index("dataset")
    means = zero[f"{headline}_mean"]
    return [
        float(row[f"{headline}_mean"] - means[row["dataset"]])
        if row["dataset"] in means.index
        else math.nan
        for _, row in rows.iterrows()
    ]


# --- test images -----------------------------------------------------------------------------


def _items(rows: pd.DataFrame, cells: pd.DataFrame, parts: Sequence[str]) -> list[float]:
    """Wilson's half widths of the parts, through the harmonic mean and the average."""
    sizes = {d: _sizes(group) for d, group in cells.groupby("dataset")}
    halves = {
        (row["group"], row["dataset"]): _halves(row, sizes.get(row["dataset"], {}), parts)
        for _, row in rows[~rows["average"]].iterrows()
    }
    datasets = [d for d in rows["dataset"].unique() if d in sizes]
    found = []
    for _, row in rows.iterrows():
        names = datasets if row["average"] else [row["dataset"]]
        own = [halves[row["group"], name] for name in names]
        noise = np.sqrt((np.array(own) ** 2).sum(0)) / len(own)  # (part,)
        at = [float(row[f"{part}_mean"]) / 100 for part in parts]
        found.append(float(np.sqrt(((np.array(part_slopes(at)) * noise) ** 2).sum())))
    return found


def _halves(row: pd.Series, sizes: dict[str, dict[str, int]], parts: Sequence[str]) -> list[float]:
    from statsmodels.stats.proportion import proportion_confint  # slow to import

    found = []
    for part in parts:
        n = sizes.get(part.removeprefix("acc/"), {}).get("images", 0)
        accuracy = float(row[f"{part}_mean"]) / 100
        if not n or math.isnan(accuracy):
            found.append(math.nan)
            continue
        low, high = proportion_confint(accuracy * n, n, method="wilson")
        found.append(50 * float(high - low))
    return found


def _sizes(cells: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Classes and images of each test part, as a run recorded them; older runs did not."""
    texts = [t for t in cells["test_parts"] if t]
    found: dict[str, dict[str, int]] = json.loads(texts[-1]) if texts else {}
    return found


# --- health ----------------------------------------------------------------------------------


def _flags(
    row: pd.Series,
    rows: pd.DataFrame,
    runs: Mapping[str, pd.DataFrame],
    zero: pd.DataFrame,
    parts: Sequence[str],
) -> str:
    """What a reader should know before believing a row, in words; most rows have none.

    ``runs`` are those of the row's group by data set, ``zero`` those of zero-shot.
    """
    own = [r for d, r in runs.items() if row["average"] or d == row["dataset"]]
    if not own:
        return "no finished run"
    flags = ["chance level"] if any(_at_chance(r, parts) for r in own) else []
    if row["method"] != REFERENCE_METHOD:
        flags += _below(row, rows)
        if not zero.empty and _dead(pd.concat(own), zero, parts):
            flags.append("dead adapter")
    if min(len(set(r["seed"])) for r in own) == 1:
        flags.append("single seed")
    if len(set().union(*(r["versions"] for r in own))) > 1:
        flags.append("mixed versions")
    if len(set().union(*(r["git_commit"] for r in own))) > 1:
        flags.append("mixed commits")
    if row["missing"] or row["failed"]:
        flags.append("empty cells")
    return ", ".join(flags)


def _below(row: pd.Series, rows: pd.DataFrame) -> list[str]:
    if row["gain"] < 0:
        return ["below zero-shot"]
    if not row["average"]:
        return []
    mine = rows[(rows["group"] == row["group"]) & (rows["gain"] < 0)]
    names = mine[~mine["average"]]["dataset"].tolist()
    return [f"below zero-shot on {', '.join(names)}"] if names else []


def _at_chance(runs: pd.DataFrame, parts: Sequence[str]) -> bool:
    """Whether an accuracy on a data set is no better than guessing: within two standard errors of
    1 / classes."""
    sizes = _sizes(runs)
    for part in parts:
        size = sizes.get(part.removeprefix("acc/"))
        if size is None:
            continue
        chance = 1 / size["classes"]
        error = math.sqrt(chance * (1 - chance) / size["images"])
        if (runs[part].to_numpy() / 100 <= chance + 2 * error).any():
            return True
    return False


def _dead(own: pd.DataFrame, zero: pd.DataFrame, parts: Sequence[str]) -> bool:
    """Whether what trains has changed nothing: zero-shot's accuracies in every run."""
    if not (own["params/trainable"] > 0).all():
        return False
    cell = ["dataset", "shots", "seed"]
    needed = [*cell, *parts]
    both = own[needed].merge(zero[needed], on=cell, suffixes=("", "_zero"))
    return len(both) == len(own) and all((both[p] == both[f"{p}_zero"]).all() for p in parts)
