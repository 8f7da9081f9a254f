"""Pictures of ranks and of whole distributions: critical differences, performance profiles."""

import textwrap
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.spec.quantities import axis_label
from reports.analyses import distributions
from reports.analyses.distributions import tables_of
from reports.figures.style import COLOURS, STYLE
from reports.results.board import Board, board_title
from reports.statistics import friedman
from reports.statistics.friedman import Ranking

LINES = ("-", "--", "-.", ":")
LETTER = 0.068  # inches of a letter of 8 points, on the average


def draw_ranks(found: Ranking, title: str, png: Path, svg: Path) -> None:
    """Demsar's diagram: methods on a line of ranks, a bar over those that cannot be told apart."""
    import scikit_posthocs as posthocs

    values, p = found.ranks, found.nemenyi.loc[found.ranks.index, found.ranks.index]
    names = [f"{name} ({rank:.2f})" for name, rank in values.items()]
    said = f"{title}: mean rank over {found.datasets} data sets, critical distance"
    with mpl.rc_context(STYLE):
        width = max(7.2, 4.0 + 2 * LETTER * max(map(len, names)))
        height = 1.4 + 0.25 * len(values) / 2
        figure = Figure(figsize=(width, height), dpi=200, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        places = range(len(values))  # sets of names have another order in every process
        drawn = posthocs.critical_difference_diagram(
            pd.Series(values.to_numpy(), places),
            pd.DataFrame(p.to_numpy(), places, places),
            label_fmt_left="{label}",
            label_fmt_right="{label}",
            label_props={"fontsize": 8},
            ax=axes,
        )
        for label in drawn["labels"]:
            label.set_text(f" {names[int(label.get_text())]} ")
        wrapped = textwrap.fill(f"{said} {found.distance:.2f}", int(14 * width))
        figure.suptitle(wrapped, x=0.01, ha="left", fontsize=8)
        _save(figure, png, svg)


def draw_profiles(table: pd.DataFrame, metric: str, title: str, png: Path, svg: Path) -> None:
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
        axes.set_xlabel(axis_label(named) + (f", points{over}{reference}" if over else ""))
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


def write_distributions(
    board: Board, folder: Path, known: Mapping[str, pd.DataFrame] | None = None
) -> list[Path]:
    """aggregate.csv, improvement.csv, profile.csv and picture; ranks.csv and the diagram of
    critical differences with five methods and five data sets. Same rows, same bytes.

    ``known`` are the tables, if they were made before.
    """
    # matplotlib is slow to import

    folder.mkdir(parents=True, exist_ok=True)
    tables = tables_of(board) if known is None else known
    if not tables:
        return []
    profile, what = tables["profile"], str(tables["aggregate"]["metric"].iloc[0])
    pictures = [folder / "profile.png", folder / "profile.svg"]
    draw_profiles(profile, what, board_title(board), *pictures)
    found = friedman.friedman_ranking(distributions.scores_by_dataset(board))
    if found is not None:
        pictures += [folder / "ranks.png", folder / "ranks.svg"]
        draw_ranks(found, board_title(board), *pictures[2:])
    paths = [folder / f"{name}.csv" for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        path.write_text(table.to_csv(index=False, lineterminator="\n"))
    return [*paths, *pictures]
