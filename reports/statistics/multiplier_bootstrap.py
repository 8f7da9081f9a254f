"""Bootstrap draws of the means of many configurations at once.

The probability of any statement about the means is its share of the draws. As in ``bootstrap`` the
clusters are seeds within each data set (*these data sets*) or whole data sets (*data sets like
these*). All configurations of a cluster move together, so an easy few-shot subset is easy for all.

A plain bootstrap of three seeds has ten outcomes, too few for probabilities. Here a standard normal
number weighs the deviation of each cluster (multiplier bootstrap: the same variance, but smooth),
and each draw is stretched to Student's t for so few clusters. For two configurations on one data
set, the probability that the first is ahead is then one minus the one-sided p of the paired t test.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.spec.quantities import HARMONIC_MEANS

DRAWS = 4000
H = "acc/hmean"  # its parts are averaged over data sets apart, then combined


@dataclass(frozen=True)
class Draws:
    """Deviations of means, (draw, configuration, quantity) each.

    ``seeds`` answers for other seeds, ``datasets`` for other data sets as well (None for a single
    data set). ``known`` marks the configurations with two seeds; others have no deviation.
    """

    seeds: np.ndarray
    datasets: np.ndarray | None
    known: np.ndarray


def draw_means(cells: pd.DataFrame, groups: Sequence[str], quantities: Sequence[str]) -> Draws:
    """Return draws of configurations (``group`` in the cells), over seeds that have every data set.

    The noise of the last quantity decides the effective number of clusters.
    """
    datasets = sorted(cells["dataset"].unique())
    split = len(datasets) > 1
    parts = [HARMONIC_MEANS[q] if split and q == H else (q,) for q in quantities]
    x = _values(cells, groups, datasets, [column for names in parts for column in names])
    n = np.isfinite(x[:, 0, :, 0]).sum(1)  # seeds of each group
    known = n > 1
    means = np.nansum(x, axis=2) / np.maximum(n, 1)[:, None, None]  # (group, data set, column)
    rng = np.random.default_rng(0)
    widths = [len(names) for names in parts]
    noise = _seed_noise(x, means, n, known, widths[-1], rng)
    seeds = _score_deviations(means.mean(1), noise, widths)
    if not split:
        return Draws(seeds, None, known)
    count = len(datasets)
    deviations = (means - means.mean(1, keepdims=True)) / np.sqrt(count * (count - 1))
    moved = np.einsum("nd,gdc->ngc", rng.standard_normal((DRAWS, count)), deviations)
    moved *= _stretch(rng, count - 1)
    return Draws(seeds, _score_deviations(means.mean(1), moved, widths), known)


def _values(
    cells: pd.DataFrame, groups: Sequence[str], datasets: Sequence[str], columns: Sequence[str]
) -> np.ndarray:
    """Return (group, data set, seed, column); NaN for a seed that lacks a data set."""
    seeds = sorted(cells["seed"].unique())
    index = pd.MultiIndex.from_product([groups, datasets, seeds])
    once = cells.drop_duplicates(["group", "dataset", "seed"], keep="last")
    wide = once.set_index(["group", "dataset", "seed"])[[*dict.fromkeys(columns)]].reindex(index)
    x = wide[list(columns)].to_numpy(dtype=float)
    x = x.reshape(len(groups), len(datasets), len(seeds), len(columns))
    whole = np.isfinite(x).all((1, 3))  # (group, seed)
    return np.where(whole[:, None, :, None], x, np.nan)


def _seed_noise(
    x: np.ndarray,
    means: np.ndarray,
    n: np.ndarray,
    known: np.ndarray,
    parts: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return deviations of the average over data sets: (draw, group, column)."""
    groups, datasets, seeds, columns = x.shape
    scale = np.sqrt(np.maximum(n * (n - 1), 1))[:, None, None, None]
    deviations = np.where(known[:, None, None, None], np.nan_to_num(x - means[:, :, None]), 0)
    deviations = deviations / scale
    flat = deviations.reshape(groups, datasets * seeds, columns) / datasets
    weights = rng.standard_normal((DRAWS, datasets * seeds))
    noise = np.einsum("nk,gkc->ngc", weights, flat, optimize=True)
    if not known.any():
        return noise
    own = (deviations[known][..., -parts:].sum(-1) ** 2).sum(2).mean(0)  # (data set,)
    freedom = (int(n[known].min()) - 1) * (own.sum() ** 2 / max((own**2).sum(), 1e-30) or datasets)
    return noise * _stretch(rng, freedom)


def _stretch(rng: np.random.Generator, freedom: float) -> np.ndarray:
    """Return factors that make normal draws Student's t, one for all configurations of a draw."""
    factors: np.ndarray = np.sqrt(freedom / rng.chisquare(freedom, (DRAWS, 1, 1)))
    return factors


def _score_deviations(means: np.ndarray, noise: np.ndarray, widths: Sequence[int]) -> np.ndarray:
    """Turn columns into quantities: two parts become the deviation of their harmonic mean."""
    scores, at = [], 0
    for width in widths:
        here, moves = means[:, at : at + width], noise[..., at : at + width]
        scores.append(_harmonic(here + moves) - _harmonic(here) if width > 1 else moves[..., 0])
        at += width
    return np.stack(scores, axis=-1)


def _harmonic(parts: np.ndarray) -> np.ndarray:
    parts = np.clip(parts, 1e-9, None)
    means: np.ndarray = parts.shape[-1] / (1 / parts).sum(-1)
    return means
