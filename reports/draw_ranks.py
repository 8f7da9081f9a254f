"""Pictures of ranks and of whole distributions: critical differences, performance profiles."""

from itertools import cycle
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.quantities import axis
from reports.draw import COLOURS, STYLE
from reports.friedman import Ranking

LINES = ("-", "--", "-.", ":")


def ranks(found: Ranking, title: str, png: Path, svg: Path) -> None:
    """Demsar's diagram: methods on a line of ranks, a bar over those that cannot be told apart."""
    import scikit_posthocs as posthocs

    with mpl.rc_context(STYLE):
        height = 1.2 + 0.25 * len(found.ranks) / 2
        figure = Figure(figsize=(7.2, height), dpi=200, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        posthocs.critical_difference_diagram(found.ranks, found.nemenyi, ax=axes)
        axes.set_title(
            f"{title}: mean rank over {found.datasets} data sets, critical distance"
            f" {found.distance:.2f}",
            loc="left",
            fontsize=8,
        )
        _save(figure, png, svg)


def profiles(table: pd.DataFrame, metric: str, title: str, png: Path, svg: Path) -> None:
    """The share of runs above each accuracy; a line further right is better."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), dpi=200, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        lines = cycle([(c, line) for line in LINES for c in COLOURS])
        for name, rows in table.groupby("method"):
            colour, line = next(lines)
            rows = _corners(rows)
            x, style = rows["threshold"], {"color": colour, "label": name, "lw": 1.4}
            axes.plot(x, rows["share"], line, drawstyle="steps-post", **style)
            axes.fill_between(
                x, rows["low"], rows["high"], color=colour, alpha=0.12, lw=0, step="post"
            )
        named, over, reference = metric.partition(" over ")
        axes.set_xlabel(axis(named) + (f", points{over}{reference}" if over else ""))
        axes.set_ylabel("share of runs above")
        axes.set_title(title, loc="left", fontsize=8)
        axes.grid(True, color="#dddddd", linewidth=0.6)
        axes.legend(frameon=False, fontsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        _save(figure, png, svg)


def _corners(rows: pd.DataFrame) -> pd.DataFrame:
    """Without thresholds at which nothing changes: the same steps in a third of the file."""
    values = rows[["share", "low", "high"]].to_numpy()
    kept = np.ones(len(rows), dtype=bool)
    kept[1:-1] = (values[1:-1] != values[:-2]).any(axis=1)
    return rows[kept]


def _save(figure: Figure, png: Path, svg: Path) -> None:
    figure.savefig(png, metadata={"Software": None})
    figure.savefig(svg, metadata={"Date": None, "Creator": "RingBench"})
