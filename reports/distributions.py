"""Files about all methods together: ranks over data sets, aggregates, profiles."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from reports import aggregate, friedman
from reports.leaderboard import title
from reports.table import Board


def tables_of(board: Board) -> dict[str, pd.DataFrame]:
    """aggregate, improvement and profile, and ranks with five methods and five data sets; nothing
    below two methods."""
    scores, what = aggregate.scores(board)
    if len(scores) < 2:
        return {}
    found = friedman.ranking(friedman.scores(board))
    return {
        "aggregate": aggregate.summary(scores).assign(metric=what),
        "improvement": aggregate.improvement(scores),
        "profile": aggregate.profile(scores),
    } | ({} if found is None else {"ranks": friedman.table(found)})


def write(
    board: Board, folder: Path, known: Mapping[str, pd.DataFrame] | None = None
) -> list[Path]:
    """aggregate.csv, improvement.csv, profile.csv and picture; ranks.csv and the diagram of
    critical differences with five methods and five data sets. Same rows, same bytes.

    ``known`` are the tables, if they were made before.
    """
    from reports import draw_ranks  # matplotlib is slow to import

    folder.mkdir(parents=True, exist_ok=True)
    tables = tables_of(board) if known is None else known
    if not tables:
        return []
    profile, what = tables["profile"], str(tables["aggregate"]["metric"].iloc[0])
    pictures = [folder / "profile.png", folder / "profile.svg"]
    draw_ranks.profiles(profile, what, title(board), *pictures)
    found = friedman.ranking(friedman.scores(board))
    if found is not None:
        pictures += [folder / "ranks.png", folder / "ranks.svg"]
        draw_ranks.ranks(found, title(board), *pictures[2:])
    paths = [folder / f"{name}.csv" for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        path.write_text(table.to_csv(index=False, lineterminator="\n"))
    return [*paths, *pictures]
