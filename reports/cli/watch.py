"""A leaderboard shown again whenever the ledger changes, until Ctrl-C."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.results.board import Board


def watch_boards(
    collect: "Callable[[], list[Board]]",
    show: "Callable[[list[Board]], None]",
    seconds: float,
    rounds: int | None = None,
) -> None:
    """Collect every so many seconds and show what has changed; ``rounds`` limits the number.

    An error of ``collect`` is said once.
    """
    last = ""
    try:
        while rounds is None or rounds > 0:
            rounds = None if rounds is None else rounds - 1
            last = _update(collect, show, last)
            if rounds != 0:
                time.sleep(seconds)
    except KeyboardInterrupt:
        return


def _update(
    collect: "Callable[[], list[Board]]", show: "Callable[[list[Board]], None]", last: str
) -> str:
    from harness.cli import console
    from methods.kit.core.errors import UsageError
    from reports.tables.leaderboard import boards_csv

    try:
        boards = collect()
    except UsageError as error:
        if last != str(error):
            console.say(f"waiting: {error}")
        return str(error)
    now = boards_csv(boards)
    if now != last:
        if console.out.is_terminal:
            console.out.clear()
        show(boards)
        console.say(f"  at {time.strftime('%H:%M:%S')}; Ctrl-C ends")
    return now
