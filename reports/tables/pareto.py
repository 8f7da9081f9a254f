"""Pareto fronts as CSV tables."""

from collections.abc import Sequence

import pandas as pd

from reports.analyses.dominated_share import DominatedShare
from reports.analyses.pareto import Axes, ParetoPoint


def points_csv(found: Sequence[ParetoPoint], asked: Axes) -> str:
    """The numbers of the picture in full precision."""
    quality = asked.quality.name
    rows = []
    for p in found:
        row = {
            "method": p.method,
            "settings": p.settings,
            "dataset": p.dataset,
            asked.cost.name: p.cost,
            **({} if asked.third is None else {asked.third.name: p.third}),
            f"{quality}_mean": p.mean,
            f"{quality}_low": p.low,
            f"{quality}_high": p.high,
            f"{quality}_n": p.n,
            "front": p.front,
            "front_chance": p.chance,
            "front_chance_like": p.chance_like,
        }
        rows.append(row)
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def pareto_files(
    panels: Sequence[Sequence[ParetoPoint]], measured: Sequence["DominatedShare"], asked: Axes
) -> dict[str, str]:
    """The tables of one front or of one a data set, with what its families dominate."""

    return {
        "pareto.csv": points_csv([p for panel in panels for p in panel], asked),
        "pareto-families.csv": shares_csv(measured, asked),
    }


def shares_csv(found: Sequence[DominatedShare], asked: Axes) -> str:
    """A row a method and picture, with the reference point and the best values."""
    rows = [
        {
            "method": f.method,
            "dataset": f.dataset,
            "points": f.points,
            "dominated_share": f.share,
            "dominated_low": f.low,
            "dominated_high": f.high,
            "largest_chance": f.chance,
            **{f"reference:{q.name}": r for q, r in zip(asked.all, f.reference, strict=True)},
            **{f"ideal:{q.name}": r for q, r in zip(asked.all, f.ideal, strict=True)},
        }
        for f in found
    ]
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def shares_note(found: Sequence[DominatedShare], asked: Axes) -> str:
    """What a dominated share is measured against."""
    first = found[0]
    pairs = zip(asked.all, first.reference, first.ideal, strict=True)
    ends = "; ".join(f"{q.name} {worst:,.4g} to {best:,.4g}" for q, worst, best in pairs)
    return (
        f"dominated: share of the box from the reference to the best values ({ends}; decades count"
        " alike) with its 95 % interval over seeds"
    )
