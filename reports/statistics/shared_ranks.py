"""Ranks that rows share when they cannot be told apart."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from reports.statistics.bootstrap import combined_score

DRAWS = 2000
LEVEL = 0.05
SAME = ["subset_hash", "backbone_hash"]


def shared_ranks(cells: pd.DataFrame, parts: Sequence[str]) -> dict[str, int]:
    """For each group one more than the number of groups that are surely ahead of it.

    Surely: the paired difference over seeds on these data sets (reports/statistics/bootstrap.py),
    at 5 % after Holm over all pairs. Groups without two seeds on every data set, or on other
    few-shot draws or weights than most, have no rank.
    """
    values, names = _values(cells, parts)
    if len(names) < 2:
        return {}
    p, ahead = pairwise_p(values)
    first, second = np.triu_indices(len(names), 1)
    sure = np.zeros_like(ahead, dtype=bool)
    sure[first, second] = _holm(p[first, second]) < LEVEL
    beaten = (sure | sure.T) & (ahead < 0)
    return {name: 1 + int(beaten[i].sum()) for i, name in enumerate(names)}


def pairwise_p(values: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """p and difference (row minus column) of every pair; ``values`` as in
    reports/statistics/bootstrap.py, with any number of methods: (method, part, seed) a data set."""
    rng = np.random.default_rng(0)
    total = np.zeros((*values[0].shape[:2], DRAWS))
    for x in values:
        n = x.shape[2]
        total += x[:, :, rng.integers(0, n, (DRAWS, n - 1))].mean(3)
    error = np.sqrt(_of_differences(combined_score(total / len(values), 1)))
    means = combined_score(np.mean([x.mean(2) for x in values], axis=0), 1)
    ahead = means[:, None] - means[None]
    own = np.array([_of_differences(combined_score(x, 1)) / x.shape[2] for x in values])
    n = np.array([x.shape[2] - 1 for x in values])[:, None, None]
    still = own.sum(0) < 1e-12
    freedom = own.sum(0) ** 2 / np.where(still, 1, (own**2 / n).sum(0))
    freedom = np.where(still, n.sum(), freedom)
    p = 2 * stats.t.sf(np.abs(ahead) / np.where(error < 1e-6, 1, error), freedom)
    return np.where(error < 1e-6, np.abs(ahead) < 1e-9, p), ahead


def _of_differences(x: np.ndarray) -> np.ndarray:
    """Variance of x[i] - x[j] for every pair of rows."""
    covariance = np.atleast_2d(np.cov(x))
    own = np.diag(covariance)
    found: np.ndarray = np.maximum(own[:, None] + own[None] - 2 * covariance, 0)
    return found


def _values(cells: pd.DataFrame, parts: Sequence[str]) -> tuple[list[np.ndarray], list[str]]:
    datasets = sorted(cells["dataset"].unique())
    seeds = cells.groupby(["group", "dataset"])["seed"].nunique().unstack()
    enough = seeds.index[(seeds.reindex(columns=datasets).fillna(0) >= 2).all(axis=1)]
    kept = cells[cells["group"].isin(enough)]
    if kept.empty:
        return [], []
    drawn = kept[SAME[0]].str.cat(kept[SAME[1:]], sep="|")
    usual = drawn.groupby([kept["dataset"], kept["seed"]]).transform(lambda s: s.mode().iloc[0])
    odd = set(kept["group"][drawn != usual])
    kept = kept[~kept["group"].isin(odd)]
    names = sorted(kept["group"].unique())
    found = []
    for dataset in datasets:
        here = kept[kept["dataset"] == dataset]
        wide = here.pivot_table(index="group", columns="seed", values=list(parts)).reindex(names)
        wide = wide.dropna(axis=1)
        common = [s for s in sorted(here["seed"].unique()) if all((p, s) in wide for p in parts)]
        if len(common) < 2:
            return [], []
        found.append(np.stack([wide[p][common].to_numpy() for p in parts], axis=1))
    return found, names


def _holm(p: np.ndarray) -> np.ndarray:
    from statsmodels.stats.multitest import multipletests  # slow to import

    adjusted: np.ndarray = multipletests(p, method="holm")[1]
    return adjusted
