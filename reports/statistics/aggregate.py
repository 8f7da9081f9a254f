"""Whole distributions instead of means alone (Agarwal et al., Deep RL at the edge of the
statistical precipice, 2021): interquartile mean, probability of improvement, profiles.

Scores are made comparable between data sets by taking zero-shot's away, where it was run. Data sets
are the strata: seeds are drawn anew within each. Nothing is paired here;
reports/analyses/comparison.py is the sharper test.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

DRAWS = 2000
LEVEL = 0.95
Scores = Mapping[str, Sequence[np.ndarray]]  # method: for each data set one score a seed


def iqm(values: np.ndarray) -> float:
    """The mean of the middle half of all runs."""
    return float(stats.trim_mean(values, 0.25, axis=None))


def aggregate_table(all_scores: Scores) -> pd.DataFrame:
    """For each method IQM, mean and median over runs with stratified bootstrap intervals."""
    rows = []
    for name, strata in all_scores.items():
        row: dict[str, object] = {"method": name}
        drawn = _draws(strata)  # (draw, run)
        flat = np.concatenate(strata)
        known = min(len(s) for s in strata) > 1
        for label, one, many in (
            ("iqm", iqm(flat), stats.trim_mean(drawn, 0.25, axis=1)),
            ("mean", float(flat.mean()), drawn.mean(1)),
            ("median", float(np.median(flat)), np.median(drawn, axis=1)),
        ):
            low, high = _bounds(many) if known else (math.nan, math.nan)
            row |= {label: one, f"{label}_low": low, f"{label}_high": high}
        seeds = sorted({len(s) for s in strata})
        row |= {"n_runs": len(flat), "n_datasets": len(strata), "n_seeds": seeds[0]}
        rows.append(row)
    return pd.DataFrame(rows).sort_values(["iqm", "method"], ascending=[False, True])


def improvement_table(all_scores: Scores) -> pd.DataFrame:
    """P(a run of ``first`` beats one of ``second``), mean over data sets, ties half."""
    rows = []
    for a, first in all_scores.items():
        for b, second in all_scores.items():
            if a == b:
                continue
            drawn = np.mean([_beats(x, y) for x, y in zip(first, second, strict=True)], axis=0)
            value = np.mean([beats(x, y) for x, y in zip(first, second, strict=True)])
            low, high = _bounds(drawn)
            n = min(len(x) for x in (*first, *second))
            known = n > 1
            rows.append(
                {
                    "first": a,
                    "second": b,
                    "probability": float(value),
                    "low": low if known else math.nan,
                    "high": high if known else math.nan,
                    "n_datasets": len(first),
                    "n_seeds": n,
                }
            )
    return pd.DataFrame(rows)


def beats(x: np.ndarray, y: np.ndarray) -> float:
    """Mann and Whitney's U as a share of all pairs."""
    a, b = x[:, None], y[None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def profile_table(all_scores: Scores, points: int = 301) -> pd.DataFrame:
    """The share of runs above each threshold, data sets weighing the same, with intervals."""
    flat = np.concatenate([s for strata in all_scores.values() for s in strata])
    thresholds = np.linspace(flat.min(), flat.max(), points)
    rows = []
    for name, strata in all_scores.items():
        share = np.mean([(s[:, None] > thresholds).mean(0) for s in strata], axis=0)
        rng = np.random.default_rng(0)
        total = np.zeros((DRAWS, points))
        for s in strata:
            picks = s[rng.integers(0, len(s), (DRAWS, len(s)))]  # (draw, seed)
            total += (picks[:, :, None] > thresholds).mean(1)
        low, high = np.quantile(total / len(strata), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        one = {"method": name, "threshold": thresholds, "share": share, "low": low, "high": high}
        rows.append(pd.DataFrame(one))
    return pd.concat(rows, ignore_index=True)


def _draws(strata: Sequence[np.ndarray]) -> np.ndarray:
    """Runs drawn anew, seeds within each data set: (draw, run)."""
    rng = np.random.default_rng(0)
    return np.concatenate([s[rng.integers(0, len(s), (DRAWS, len(s)))] for s in strata], axis=1)


def _beats(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """As :func:`beats`, for seeds of both drawn anew: (draw,)."""
    rng = np.random.default_rng(0)
    a = x[rng.integers(0, len(x), (DRAWS, len(x)))][:, :, None]
    b = y[rng.integers(0, len(y), (DRAWS, len(y)))][:, None, :]
    found: np.ndarray = ((a > b) + 0.5 * (a == b)).mean((1, 2))
    return found


def _bounds(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
