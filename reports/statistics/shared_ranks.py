"""Ranks that configurations share unless one is surely ahead of the other."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reports.statistics.bootstrap import Values, combined_score, resampled_means, welch_freedom
from reports.statistics.intervals import holm, t_p

DRAWS = 2000
LEVEL = 0.05
DRAWN_FROM = ("subset_hash", "backbone_hash")


def shared_ranks(cells: pd.DataFrame, parts: Sequence[str]) -> dict[str, int]:
    """Return one more than the number of groups that are surely ahead, for each group.

    Surely ahead: the paired difference over seeds on these data sets (``bootstrap.over_seeds``) is
    significant at 5 % after Holm's correction for all pairs. A group has no rank if a data set has
    fewer than two of its seeds, or if its few-shot subsets or weights differ from most others'.
    """
    values, groups = _values(cells, parts)
    if len(groups) < 2:
        return {}
    p, difference = pairwise_p(values)
    first, second = np.triu_indices(len(groups), 1)
    significant = np.zeros_like(difference, dtype=bool)
    significant[first, second] = holm(p[first, second]) < LEVEL
    beaten = (significant | significant.T) & (difference < 0)
    return {group: 1 + int(beaten[i].sum()) for i, group in enumerate(groups)}


def pairwise_p(values: Values) -> tuple[np.ndarray, np.ndarray]:
    """Return p and difference (row minus column) of every pair of methods.

    ``values`` as in ``bootstrap``, with any number of methods.
    """
    error = np.sqrt(_difference_variances(combined_score(resampled_means(values, DRAWS), 1)))
    means = combined_score(np.mean([x.mean(2) for x in values], axis=0), 1)
    difference = means[:, None] - means[None]
    variances = [_difference_variances(combined_score(x, 1)) / x.shape[2] for x in values]
    freedom = welch_freedom(np.array(variances), [x.shape[2] - 1 for x in values])
    constant = error < 1e-6
    p = t_p(difference / np.where(constant, 1, error), freedom)
    return np.where(constant, np.abs(difference) < 1e-9, p), difference


def _difference_variances(x: np.ndarray) -> np.ndarray:
    """Return the variance of x[i] - x[j] for every pair of rows."""
    covariance = np.atleast_2d(np.cov(x))
    own = np.diag(covariance)
    variances: np.ndarray = np.maximum(own[:, None] + own[None] - 2 * covariance, 0)
    return variances


def _values(cells: pd.DataFrame, parts: Sequence[str]) -> tuple[list[np.ndarray], list[str]]:
    """Return (group, part, seed) for each data set, and the groups that can be ranked."""
    datasets = sorted(cells["dataset"].unique())
    seeds = cells.groupby(["group", "dataset"])["seed"].nunique().unstack()
    enough = seeds.index[(seeds.reindex(columns=datasets).fillna(0) >= 2).all(axis=1)]
    cells = cells[cells["group"].isin(enough)]
    if cells.empty:
        return [], []
    drawn = cells[DRAWN_FROM[0]].str.cat(cells[[*DRAWN_FROM[1:]]], sep="|")
    usual = drawn.groupby([cells["dataset"], cells["seed"]]).transform(lambda s: s.mode().iloc[0])
    cells = cells[~cells["group"].isin(cells["group"][drawn != usual])]
    groups = sorted(cells["group"].unique())
    values = []
    for dataset in datasets:
        here = cells[cells["dataset"] == dataset]
        wide = here.pivot_table(index="group", columns="seed", values=list(parts)).reindex(groups)
        wide = wide.dropna(axis=1)
        common = [s for s in sorted(here["seed"].unique()) if all((p, s) in wide for p in parts)]
        if len(common) < 2:
            return [], []
        values.append(np.stack([wide[p][common].to_numpy() for p in parts], axis=1))
    return values, groups
