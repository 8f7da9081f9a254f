"""What must be true of any data set, whatever it was read from."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from methods.kit.core.errors import UsageError

SPLITS = ("train", "val", "test")
SPLIT_WORDS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def check_class_names(source: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return class names that a prompt can tell apart. Raises UsageError for others."""
    for label, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"{source}: label {label} has the class name {name!r}; give it a word")
        if not name.isprintable() or any(0xD800 <= ord(c) < 0xE000 for c in name):
            shown = name.encode("utf-8", "backslashreplace").decode()
            raise UsageError(f"{source}: the class name {shown!r} has unprintable characters")
    counts = Counter(prompt_name(name) for name in names)
    twice = next((name for name in names if counts[prompt_name(name)] > 1), None)
    if twice is not None:
        raise UsageError(f"{source}: two labels share the class name {twice!r}")
    if len(names) == 1:
        raise UsageError(f"{source}: it has one class, {names[0]!r}; it needs at least two")
    return tuple(names)


def prompt_name(name: str) -> str:
    """Return a class name as prompts write it."""
    return " ".join(name.replace("_", " ").split())


def number_classes(words: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Return (rows,) labels and the sorted class names of a word for each row."""
    names = sorted(set(words))
    place = {name: label for label, name in enumerate(names)}
    return np.array([place[word] for word in words], dtype=np.int64), names


def names_by_label(source: str, labels: Iterable[int], names: Iterable[str]) -> list[str]:
    """Return the class name of each label. Raises UsageError for two names and for gaps."""
    known: dict[int, str] = {}
    for label, name in zip(labels, names, strict=True):
        if known.setdefault(label, name) != name:
            raise UsageError(
                f"{source}: label {label} is called both {known[label]!r} and {name!r}"
            )
    gap = next((label for label in range(len(known)) if label not in known), None)
    if gap is not None:
        raise UsageError(f"{source}: labels must count from 0 without gaps; {gap} is missing")
    return [known[label] for label in range(len(known))]


def check_splits(source: str, words: Iterable[str]) -> np.ndarray:
    """Return 'train', 'val' or 'test' for each row.

    Raises UsageError for other words and where training or test images are missing.
    """
    split = np.array([SPLIT_WORDS.get(word.lower(), word) for word in map(str, words)], dtype=str)
    other = sorted(set(split.tolist()) - set(SPLITS))
    if other:
        raise UsageError(f"{source}: split {other[0]!r} is none of {', '.join(SPLITS)}")
    for name in ("train", "test"):
        if name not in split:
            hint = "; call the val images test" if name == "test" and "val" in split else ""
            raise UsageError(f"{source}: it has no {name} images{hint}")
    return split
