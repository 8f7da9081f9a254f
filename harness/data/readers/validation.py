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
    """Class names that a prompt can tell apart. Raises UsageError."""
    for label, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"{source}: label {label} has the class name {name!r}; give it a word")
        if not name.isprintable() or any(0xD800 <= ord(c) < 0xE000 for c in name):
            shown = name.encode("utf-8", "backslashreplace").decode()
            raise UsageError(f"{source}: the class name {shown!r} has signs that no text can hold")
    said = Counter(prompt_name(name) for name in names)
    twice = next((name for name in names if said[prompt_name(name)] > 1), None)
    if twice is not None:
        raise UsageError(f"{source}: two labels share the class name {twice!r}")
    if len(names) == 1:
        raise UsageError(f"{source}: it has one class, {names[0]!r}; to tell apart it takes two")
    return tuple(names)


def prompt_name(name: str) -> str:
    """A class name as it stands in a prompt."""
    return " ".join(name.replace("_", " ").split())


def check_splits(source: str, words: Iterable[str]) -> np.ndarray:
    """'train', 'val' or 'test' for each row. Raises UsageError for other words and empty parts."""
    split = np.array([SPLIT_WORDS.get(str(word).lower(), str(word)) for word in words], dtype=str)
    odd = sorted(set(split.tolist()) - set(SPLITS))
    if odd:
        raise UsageError(f"{source}: split {odd[0]!r} is none of {', '.join(SPLITS)}")
    for name in ("train", "test"):
        if name not in split:
            hint = "; call the val images test" if name == "test" and "val" in split else ""
            raise UsageError(f"{source}: it has no {name} images{hint}")
    return split
