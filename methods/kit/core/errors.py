"""The one error that is meant for the person at the keyboard."""

from collections.abc import Iterable
from difflib import get_close_matches

MANY = 30  # of a longer list the rest is counted


class UsageError(ValueError):
    """What was asked for cannot be done; the message is one line that says what to do instead."""


def unknown(kind: str, word: str, known: Iterable[str]) -> UsageError:
    """An error for a word that is not on a list, with the nearest right word when there is one."""
    known = sorted(known)
    tails = {name.rpartition(".")[2]: name for name in reversed(known)}
    close = [tails[word]] if word in tails else get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return UsageError(f"{kind}: unknown, did you mean {close[0]!r}?")
    listed = ", ".join(known[:MANY]) + (f" and {len(known) - MANY} more" if known[MANY:] else "")
    return UsageError(f"{kind}: unknown; known: {listed or 'none'}")
