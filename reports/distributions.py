"""Files about all methods together: ranks over data sets, aggregates, profiles."""

from pathlib import Path

from reports import aggregate, friedman
from reports.leaderboard import title
from reports.table import Board


def write(board: Board, folder: Path) -> list[Path]:
    """aggregate.csv, improvement.csv, profile.csv and picture; ranks.csv and the diagram of
    critical differences with five methods and five data sets. Same rows, same bytes."""
    from reports import draw_ranks  # matplotlib is slow to import

    folder.mkdir(parents=True, exist_ok=True)
    scores, what = aggregate.scores(board)
    if len(scores) < 2:
        return []
    profile = aggregate.profile(scores)
    tables = {
        "aggregate": aggregate.summary(scores).assign(metric=what),
        "improvement": aggregate.improvement(scores),
        "profile": profile,
    }
    pictures = [folder / "profile.png", folder / "profile.svg"]
    draw_ranks.profiles(profile, what, title(board), *pictures)
    found = friedman.ranking(friedman.scores(board))
    if found is not None:
        tables["ranks"] = friedman.table(found)
        pictures += [folder / "ranks.png", folder / "ranks.svg"]
        draw_ranks.ranks(found, title(board), *pictures[2:])
    paths = [folder / f"{name}.csv" for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        path.write_text(table.to_csv(index=False, lineterminator="\n"))
    return [*paths, *pictures]
