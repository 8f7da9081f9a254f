"""Names of icons to words: the style of a drawing apart from what it shows."""

import re
from collections.abc import Collection

LINE = frozenset("outline outlined regular linear line stroke o light thin baseline".split())
FILL = frozenset("filled fill solid bold remix flat negative glyph".split())
DUO = frozenset("duotone twotone duo tone".split())
OTHER = frozenset(
    "rounded sharp broken round alt variant icon 24px 16px medium badged alerted".split()
)
ALWAYS_STYLE = frozenset(  # the others are style only where the name without them exists too
    """outline outlined regular linear filled fill solid duotone twotone rounded sharp broken
    negative 24px 16px bold remix baseline stroke variant alt glyph icon""".split()
)
NUMBER_WORDS = frozenset({"one", "two", "three", "four", "five", "six"})
LONGEST_CAPTION = 9

# The first word of a streamline name is a drawer of its cabinet, not what is drawn.
DRAWERS = frozenset(
    """interface computer travel food entertainment health image mail map money nature phone
    programming shopping shipping work ecology legal company programing""".split()
)


def split(
    prefix: str, name: str, names: Collection[str], suffixes: Collection[str] = ()
) -> tuple[tuple[str, ...], set[str]]:
    """(words, style): what an icon shows, and the words of its name that only say how."""
    words = [w for w in re.split(r"[-_]+", name.lower()) if w]
    style: set[str] = set()
    leading = ("baseline", "outline", "round", "sharp", "twotone")
    if words and prefix == "ic" and words[0] in leading:
        style.add(words.pop(0))
    if prefix.startswith("pepicons-") and words and words[-1] == "circle":
        style.add("badge")
    while len(words) > 1 and _drop_style(prefix, words, style, names, suffixes):
        continue
    return tuple(words), style


def _drop_style(
    prefix: str,
    words: list[str],
    style: set[str],
    names: Collection[str],
    suffixes: Collection[str],
) -> bool:
    """Take one trailing word of style off; False when there is none."""
    last, rest = words[-1], "-".join(words[:-1])
    sometimes = last in LINE | FILL | DUO | OTHER and (rest in names or f"{rest}-filled" in names)
    if last in ALWAYS_STYLE or last in suffixes or sometimes:
        style.add(words.pop())
    elif last == "two" and "tone" in style:
        words.pop()
    elif _counts(prefix, words):
        style.add("n" + words.pop())
    elif re.fullmatch(r"[a-z]{3,}\d{1,2}", last):
        words[-1] = re.sub(r"\d+$", "", last)
        style.add("n")
    else:
        return False
    return True


def _counts(prefix: str, words: list[str]) -> bool:
    """Whether the last word only numbers drawings or gives their size."""
    if words[-1] in NUMBER_WORDS:
        return prefix.startswith("icon-park")
    return bool(re.fullmatch(r"\d{1,2}", words[-1])) and not words[-2].isdigit()


def kind(style: Collection[str]) -> str:
    """``line``, ``fill`` or ``duo``."""
    if DUO & set(style):
        return "duo"
    return "fill" if FILL & set(style) else "line"


def caption(words: Collection[str], prefix: str = "") -> str:
    """The words of an icon as text: letters and digits apart, no word twice, at most nine."""
    parts: list[str] = []
    for word in words:
        apart = re.sub(r"(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z])", " ", word).split()
        parts += [p for p in apart if p not in parts]
    if prefix == "streamline" and len(parts) > 3 and parts[0] in DRAWERS:
        parts = parts[1:]
    return " ".join(parts[:LONGEST_CAPTION])
