"""What the means of many configurations could have been: draws of all of them together, from which
the chance of any statement about them is a count.

As in reports/statistics/bootstrap.py the clusters are seeds within each data set (*on these data
sets*) or whole data sets (*on data sets like these*), and all configurations of a cluster move
together, so an easy draw is easy for all. With three seeds a plain bootstrap knows ten outcomes,
and counts of those are no chances. Here each cluster's deviation is weighed by a normal number (the
multiplier bootstrap: the same variance, smooth), and each draw is stretched as Student's t says for
so few clusters. Of two configurations on one data set the chance that the first is ahead is then
one minus the one-sided p of the paired t test.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

DRAWS = 4000
PARTS = {"acc/hmean": ("acc/base", "acc/novel")}  # averaged apart, then put together


@dataclass(frozen=True)
class Draws:
    """(draw, configuration, quantity) each: how far the means could move, were the seeds others or
    the data sets too (None for a single data set); ``known`` says of which configurations there
    are two seeds, without which nothing is known and nothing moves."""

    seeds: np.ndarray
    datasets: np.ndarray | None
    known: np.ndarray


def draw_means(cells: pd.DataFrame, groups: Sequence[str], quantities: Sequence[str]) -> Draws:
    """Draws of configurations (``group`` in the cells), over seeds that have every data set. The
    last quantity is the one whose noise decides how many clusters there are in effect."""
    datasets = sorted(cells["dataset"].unique())
    split = len(datasets) > 1
    columns = [part for q in quantities for part in (PARTS.get(q, (q,)) if split else (q,))]
    x = _values(cells, groups, datasets, columns)  # (group, data set, seed, column)
    n = np.isfinite(x[:, 0, :, 0]).sum(1)  # seeds of each group
    known = n > 1
    means = np.nansum(x, axis=2) / np.maximum(n, 1)[:, None, None]  # (group, data set, column)
    rng = np.random.default_rng(0)
    widths = [len(PARTS.get(q, (q,))) if split else 1 for q in quantities]
    noise = _over_seeds(x, means, n, known, widths[-1], rng)
    found = _scored(means.mean(1), noise, widths)
    if not split:
        return Draws(found, None, known)
    count = len(datasets)
    apart = (means - means.mean(1, keepdims=True)) / np.sqrt(count * (count - 1))
    moved = np.einsum("nd,gdc->ngc", rng.standard_normal((DRAWS, count)), apart)
    moved *= _stretch(rng, count - 1)
    return Draws(found, _scored(means.mean(1), moved, widths), known)


def _values(
    cells: pd.DataFrame, groups: Sequence[str], datasets: Sequence[str], columns: Sequence[str]
) -> np.ndarray:
    """(group, data set, seed, column); NaN for a seed that a group lacks on any data set."""
    seeds = sorted(cells["seed"].unique())
    index = pd.MultiIndex.from_product([groups, datasets, seeds])
    once = cells.drop_duplicates(["group", "dataset", "seed"], keep="last")
    wide = once.set_index(["group", "dataset", "seed"])[[*dict.fromkeys(columns)]].reindex(index)
    x = wide[list(columns)].to_numpy(dtype=float)
    x = x.reshape(len(groups), len(datasets), len(seeds), len(columns))
    whole = np.isfinite(x).all((1, 3))  # (group, seed)
    return np.where(whole[:, None, :, None], x, np.nan)


def _over_seeds(
    x: np.ndarray,
    means: np.ndarray,
    n: np.ndarray,
    known: np.ndarray,
    parts: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """(draw, group, column): deviations of the average over data sets."""
    groups, datasets, seeds, columns = x.shape
    scale = np.sqrt(np.maximum(n * (n - 1), 1))[:, None, None, None]
    apart = np.where(known[:, None, None, None], np.nan_to_num(x - means[:, :, None]), 0) / scale
    flat = apart.reshape(groups, datasets * seeds, columns) / datasets
    weights = rng.standard_normal((DRAWS, datasets * seeds))
    noise = np.einsum("nk,gkc->ngc", weights, flat, optimize=True)
    if not known.any():
        return noise
    own = (apart[known][..., -parts:].sum(-1) ** 2).sum(2).mean(0)  # (data set,)
    freedom = (int(n[known].min()) - 1) * (own.sum() ** 2 / max((own**2).sum(), 1e-30) or datasets)
    return noise * _stretch(rng, freedom)


def _stretch(rng: np.random.Generator, freedom: float) -> np.ndarray:
    """What makes normal draws Student's t, the same for all configurations of a draw."""
    found: np.ndarray = np.sqrt(freedom / rng.chisquare(freedom, (DRAWS, 1, 1)))
    return found


def _scored(means: np.ndarray, noise: np.ndarray, widths: Sequence[int]) -> np.ndarray:
    """Columns to quantities: of two parts how far their harmonic mean moves."""
    found, at = [], 0
    for width in widths:
        here, moves = means[:, at : at + width], noise[..., at : at + width]
        both = width > 1
        found.append(_harmonic(here + moves) - _harmonic(here) if both else moves[..., 0])
        at += width
    return np.stack(found, axis=-1)


def _harmonic(parts: np.ndarray) -> np.ndarray:
    parts = np.clip(parts, 1e-9, None)
    found: np.ndarray = parts.shape[-1] / (1 / parts).sum(-1)
    return found
