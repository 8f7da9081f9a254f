"""Whole distributions of scores: interquartile mean, probability of improvement, profiles.

Agarwal et al., Deep RL at the edge of the statistical precipice, 2021. Data sets are strata: seeds
are resampled within each. Nothing is paired here; ``reports.analyses.comparison`` has more power.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

DRAWS = 2000
LEVEL = 0.95
Scores = Mapping[str, Sequence[np.ndarray]]  # method: for each data set one score per seed


def aggregate_table(all_scores: Scores) -> pd.DataFrame:
    """Return IQM (mean of the middle half of all runs), mean and median of each method.

    Intervals are from a stratified bootstrap; NaN where a data set has a single seed.
    """
    from scipy.stats import trim_mean  # slow to import

    rows = []
    for name, strata in all_scores.items():
        row: dict[str, object] = {"method": name}
        rng = np.random.default_rng(0)
        drawn = np.concatenate([_resample(s, rng) for s in strata], axis=1)  # (draw, run)
        flat = np.concatenate(strata)
        known = min(len(s) for s in strata) > 1
        for label, value, values in (
            ("iqm", float(trim_mean(flat, 0.25, axis=None)), trim_mean(drawn, 0.25, axis=1)),
            ("mean", float(flat.mean()), drawn.mean(1)),
            ("median", float(np.median(flat)), np.median(drawn, axis=1)),
        ):
            low, high = _bounds(values) if known else (math.nan, math.nan)
            row |= {label: value, f"{label}_low": low, f"{label}_high": high}
        seeds = min(len(s) for s in strata)
        row |= {"n_runs": len(flat), "n_datasets": len(strata), "n_seeds": seeds}
        rows.append(row)
    return pd.DataFrame(rows).sort_values(["iqm", "method"], ascending=[False, True])


def improvement_table(all_scores: Scores) -> pd.DataFrame:
    """Return P(a run of ``first`` beats one of ``second``), mean over data sets, ties half."""
    rows = []
    for a, first in all_scores.items():
        for b, second in all_scores.items():
            if a == b:
                continue
            pairs = list(zip(first, second, strict=True))
            n = min(len(x) for x in (*first, *second))
            low, high = math.nan, math.nan
            if n > 1:
                low, high = _bounds(np.mean([_resampled_beats(*pair) for pair in pairs], axis=0))
            row = {"first": a, "second": b, "probability": np.mean([beats(*p) for p in pairs])}
            rows.append(row | {"low": low, "high": high, "n_datasets": len(first), "n_seeds": n})
    return pd.DataFrame(rows)


def beats(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Mann and Whitney's U as a share of all pairs: (..., seed) each to (...)."""
    a, b = x[..., :, None], y[..., None, :]
    shares: np.ndarray = ((a > b) + 0.5 * (a == b)).mean((-2, -1))
    return shares


def _resampled_beats(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    return beats(_resample(x, rng), _resample(y, rng))


def profile_table(all_scores: Scores, points: int = 301) -> pd.DataFrame:
    """Return the share of runs above each threshold with its interval; data sets weigh equally."""
    flat = np.concatenate([s for strata in all_scores.values() for s in strata])
    thresholds = np.linspace(flat.min(), flat.max(), points)
    tables = []
    for name, strata in all_scores.items():
        share = np.mean([(s[:, None] > thresholds).mean(0) for s in strata], axis=0)
        rng = np.random.default_rng(0)
        total = np.zeros((DRAWS, points))
        for s in strata:
            total += (_resample(s, rng)[:, :, None] > thresholds).mean(1)
        low, high = np.quantile(total / len(strata), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        rows = {"method": name, "threshold": thresholds, "share": share, "low": low, "high": high}
        tables.append(pd.DataFrame(rows))
    return pd.concat(tables, ignore_index=True)


def _resample(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return scores of resampled seeds: (draw, seed)."""
    return scores[rng.integers(0, len(scores), (DRAWS, len(scores)))]


def _bounds(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
