"""Figures of ranks and of whole distributions: critical differences, performance profiles."""

import textwrap
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd

from harness.spec.quantities import axis_label
from reports.analyses.distributions import scores_by_dataset, tables_of
from reports.figures.style import COLOURS, saved_figure, style_axes
from reports.results.board import Board, board_title
from reports.statistics.friedman import Ranking, friedman_ranking

LINES = ("-", "--", "-.", ":")
LETTER = 0.068  # inches per letter of 8 points, on average
KINDS = ("png", "svg")


def draw_ranks(ranking: Ranking, title: str, folder: Path) -> list[Path]:
    """Write Demsar's diagram: methods on a line of ranks, a bar over those that do not differ."""
    import scikit_posthocs as posthocs  # slow to import

    ranks, p = ranking.ranks, ranking.nemenyi.loc[ranking.ranks.index, ranking.ranks.index]
    names = [f"{name} ({rank:.2f})" for name, rank in ranks.items()]
    width = max(7.2, 4.0 + 2 * LETTER * max(map(len, names)))
    size = (width, 1.4 + 0.25 * len(ranks) / 2)
    with saved_figure(size, folder, "ranks", KINDS) as (figure, paths):
        places = range(len(ranks))  # sets of names have another order in every process
        drawn = posthocs.critical_difference_diagram(
            pd.Series(ranks.to_numpy(), places),
            pd.DataFrame(p.to_numpy(), places, places),
            label_fmt_left="{label}",
            label_fmt_right="{label}",
            label_props={"fontsize": 8},
            ax=figure.add_subplot(),
        )
        for label in drawn["labels"]:
            label.set_text(f" {names[int(label.get_text())]} ")
        text = f"{title}: mean rank over {ranking.datasets} data sets, critical distance"
        text = textwrap.fill(f"{text} {ranking.distance:.2f}", int(14 * width))
        figure.suptitle(text, x=0.01, ha="left", fontsize=8)
    return paths


def draw_profiles(table: pd.DataFrame, metric: str, title: str, folder: Path) -> list[Path]:
    """Write the share of runs above each accuracy; a line further right is better."""
    with saved_figure((7.2, 4.2), folder, "profile", KINDS) as (figure, paths):
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
        axes.legend(frameon=False, fontsize=8)
        style_axes(axes)
    return paths


def _corners(rows: pd.DataFrame) -> pd.DataFrame:
    """Drop thresholds at which nothing changes: the same steps in a third of the file."""
    values = rows[["share", "low", "high"]].to_numpy()
    kept = np.ones(len(rows), dtype=bool)
    kept[1:-1] = (values[1:-1] != values[:-2]).any(axis=1)
    return rows[kept]


def write_distributions(
    board: Board, folder: Path, known: Mapping[str, pd.DataFrame] | None = None
) -> list[Path]:
    """Write the tables of ``tables_of`` as CSV, and profile and ranks as PNG and SVG.

    ``known`` are the tables, if they were computed before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = tables_of(board) if known is None else known
    if not tables:
        return []
    metric, title = str(tables["aggregate"]["metric"].iloc[0]), board_title(board)
    figures = draw_profiles(tables["profile"], metric, title, folder)
    ranking = friedman_ranking(scores_by_dataset(board))
    if ranking is not None:
        figures += draw_ranks(ranking, title, folder)
    paths = [folder / f"{name}.csv" for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        path.write_text(table.to_csv(index=False, lineterminator="\n"))
    return [*paths, *figures]
