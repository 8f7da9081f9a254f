"""Lists of whole numbers as people write them: ``1,2,4`` or ``1-3``."""

from methods.kit.core.errors import UsageError

MOST = 1000  # numbers in one range


def parse_numbers(option: str, text: str, least: int = 0) -> list[int]:
    """Return the numbers of ``1,2,4`` or ``1-3``, each once, in order. Raises UsageError."""
    found: list[int] = []
    for word in filter(None, map(str.strip, text.split(","))):
        first, dash, last = word.partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal()) or not least <= int(first) <= int(last):
            raise UsageError(
                f"{option} {text!r}: expected whole numbers from {least}, as 1,2 or 1-3"
            )
        if int(last) - int(first) >= MOST:
            raise UsageError(f"{option} {text!r}: more than {MOST:,} numbers")
        found += range(int(first), int(last) + 1)
    if not found:
        raise UsageError(f"{option}: no number given")
    return list(dict.fromkeys(found))
