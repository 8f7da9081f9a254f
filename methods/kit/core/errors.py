"""The error for wrong use: its message says what to do instead."""

from collections.abc import Iterable
from difflib import get_close_matches

MAX_LISTED = 30  # the rest of a longer list is counted


class UsageError(ValueError):
    """A request that cannot be met; the message is one line that says what to do instead."""


def unknown(kind: str, word: str, known: Iterable[str]) -> UsageError:
    """Return an error for a word that is not on a list, with the nearest one that is."""
    known = sorted(known)
    tails = {name.rpartition(".")[2]: name for name in reversed(known)}
    close = [tails[word]] if word in tails else get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return UsageError(f"{kind}: unknown, did you mean {close[0]!r}?")
    listed = ", ".join(known[:MAX_LISTED]) or "none"
    more = f" and {len(known) - MAX_LISTED} more" if known[MAX_LISTED:] else ""
    return UsageError(f"{kind}: unknown; known: {listed}{more}")
