"""Boards read from the ledger and printed. Imports are slow here, so they stand in functions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.results.board import Board


def collect_boards(
    uri: str | None, protocol: str | None, backbone: str | None, best: bool = False
) -> "list[Board]":
    """Return the boards of the ledger; ``best`` keeps one configuration of each method.

    Raises UsageError when there is none.
    """
    from harness.tracking.ledger import open_ledger
    from reports.results.board import boards, select_boards

    return select_boards(boards(open_ledger(uri).runs(), best), protocol, backbone)


def single_board(uri: str | None, protocol: str | None, backbone: str | None) -> "Board":
    """Return the only board of the ledger. Raises UsageError when there are several."""
    from methods.kit.core.errors import UsageError

    boards = collect_boards(uri, protocol, backbone)
    if len(boards) > 1:
        there = "; ".join(f"--protocol {b.protocol} --backbone {b.backbone}" for b in boards)
        raise UsageError(f"several comparisons are recorded, choose one: {there}")
    return boards[0]


def print_boards(boards: "Sequence[Board]") -> None:
    """Print boards with notes on their columns."""
    from harness.cli import console
    from reports.analyses.distributions import scores_by_dataset
    from reports.results.board import board_title
    from reports.statistics.friedman import friedman_ranking, friedman_sentence
    from reports.tables.leaderboard import OPTIONAL_COLUMNS, board_notes, visible_table

    for board in boards:
        console.table(*visible_table(board), board_title(board), OPTIONAL_COLUMNS)
        for note in (*board.notes, *board_notes(board)):
            console.say(f"  {note}")
        ranking = friedman_ranking(scores_by_dataset(board))
        if ranking is not None:
            console.say(f"  {friedman_sentence(ranking)}")


def print_published(uri: str | None, boards: "Sequence[Board]") -> None:
    """Print what papers report of the configurations on the boards, if anything."""
    from harness.cli import console
    from harness.tracking.ledger import open_ledger
    from reports.published import numbers

    shown = {(board.protocol, board.backbone) for board in boards}
    if not any((n.protocol, n.backbone) in shown for n in numbers.published_numbers()):
        return
    matches = [
        m
        for m in numbers.match_published(open_ledger(uri).runs())
        if (m.theirs.protocol, m.theirs.backbone) in shown
    ]
    if matches:
        cells = numbers.coloured_cells(numbers.match_rows(matches))
        title = "ours beside published numbers"
        console.table(numbers.MATCH_COLUMNS, cells, title, ("source", "by"))


def write_affinities(
    boards: "Sequence[Board]", best: bool, folder: Path, uri: str | None
) -> list[Path]:
    """Write the task affinity of each multi_task board."""
    from harness.spec.spec import MULTI_TASK

    several = [board for board in boards if board.protocol == MULTI_TASK]
    if not several:
        return []
    from harness.tracking.ledger import open_ledger
    from reports.analyses import task_affinity
    from reports.figures.task_affinity import save_affinity
    from reports.provenance import manifest, rebuild

    paths = []
    for board in several:
        table = task_affinity.affinity_table(board, open_ledger(uri).tables)
        if table.empty:
            continue
        place = folder if len(several) == 1 else folder / f"{board.protocol}-{board.backbone}"
        tables = rebuild.affinity_tables(board, best, task_affinity.affinity_csv(table))
        paths += manifest.write_manifest(tables, place, save_affinity(board, table, place))
    return paths


def say_written(paths: Sequence[Path]) -> None:
    """Name the files that a command wrote."""
    from harness.cli import console

    console.say("written: " + ", ".join(str(p) for p in paths))
