"""Pareto fronts and dominated shares as CSV tables."""

from collections.abc import Sequence

import pandas as pd

from reports.analyses.dominated_share import DominatedShare
from reports.analyses.pareto import Axes, ParetoPoint


def pareto_files(
    panels: Sequence[Sequence[ParetoPoint]], measured: Sequence[DominatedShare], axes: Axes
) -> dict[str, str]:
    """Return pareto.csv and pareto-families.csv of one panel, or of one per data set."""
    return {
        "pareto.csv": points_csv([p for panel in panels for p in panel], axes),
        "pareto-families.csv": shares_csv(measured, axes),
    }


def points_csv(points: Sequence[ParetoPoint], axes: Axes) -> str:
    """Return a row per point in full precision."""
    quality = axes.quality.name
    rows = [
        {
            "method": p.method,
            "settings": p.settings,
            "dataset": p.dataset,
            axes.cost.name: p.cost,
            **({} if axes.third is None else {axes.third.name: p.third}),
            f"{quality}_mean": p.mean,
            f"{quality}_low": p.low,
            f"{quality}_high": p.high,
            f"{quality}_n": p.n,
            "front": p.front,
            "front_chance": p.chance,
            "front_chance_like": p.chance_like,
        }
        for p in points
    ]
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def shares_csv(measured: Sequence[DominatedShare], axes: Axes) -> str:
    """Return a row per method and panel, with the reference point and the best values."""
    rows = [
        {
            "method": m.method,
            "dataset": m.dataset,
            "points": m.points,
            "dominated_share": m.share,
            "dominated_low": m.low,
            "dominated_high": m.high,
            "largest_chance": m.chance,
            **{f"reference:{q.name}": r for q, r in zip(axes.all, m.reference, strict=True)},
            **{f"ideal:{q.name}": r for q, r in zip(axes.all, m.ideal, strict=True)},
        }
        for m in measured
    ]
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def shares_note(measured: Sequence[DominatedShare], axes: Axes) -> str:
    """Return what a dominated share is measured against."""
    pairs = zip(axes.all, measured[0].reference, measured[0].ideal, strict=True)
    ends = "; ".join(f"{q.name} {worst:,.4g} to {best:,.4g}" for q, worst, best in pairs)
    return (
        f"dominated: share of the box from the reference to the best values ({ends}; decades count"
        " equally) with its 95 % interval over seeds"
    )
