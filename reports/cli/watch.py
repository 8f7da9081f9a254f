"""A report shown again whenever the ledger has something new, until Ctrl-C."""

import time
from collections.abc import Callable

from harness.cli import console
from methods.kit.core.errors import UsageError
from reports.results.board import Board
from reports.tables import leaderboard


def watch_boards(
    collect: Callable[[], list[Board]],
    show: Callable[[list[Board]], None],
    seconds: float,
    rounds: int | None = None,
) -> None:
    """Show what is collected, every so many seconds if it has changed; ``rounds`` limits how often
    it looks. What cannot be shown yet is said once."""
    last = ""
    try:
        while rounds is None or rounds > 0:
            rounds = None if rounds is None else rounds - 1
            last = _once(collect, show, last)
            if rounds != 0:
                time.sleep(seconds)
    except KeyboardInterrupt:
        return


def _once(
    collect: Callable[[], list[Board]], show: Callable[[list[Board]], None], last: str
) -> str:
    try:
        found = collect()
    except UsageError as error:
        if last != str(error):
            console.say(f"waiting: {error}")
        return str(error)
    now = leaderboard.boards_csv(found)
    if now != last:
        if console.out.is_terminal:
            console.out.clear()
        show(found)
        console.say(f"  at {time.strftime('%H:%M:%S')}; Ctrl-C ends")
    return now
