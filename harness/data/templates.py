"""The texts around class names: sets known by name (templates.json), a file, or a text itself.

With several templates, the text feature of a class is the normalised mean of its normalised
features, as in CLIP.
"""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from harness.data.class_names import read_list_file
from harness.data.dataset import Dataset
from methods.kit.core.errors import UsageError

DEFAULT, COOP = "default", "coop"
SUFFIXES = (".txt", ".json")


def resolve_templates(word: str, table: Dataset) -> tuple[str, ...]:
    """Return the templates that a word stands for, on a data set. Raises UsageError.

    ``default`` is the data set's own; ``coop`` is CoOp's for its 15 sets and "a photo of a {}." for
    any other.
    """
    known = _known_templates()
    if word == DEFAULT:
        return (table.template,)
    if word == COOP:
        return (known[COOP].get(table.name, known[COOP]["any"]),)
    if word in known:
        return tuple(known[word])
    if "{}" in word:
        return (word,)
    if Path(word).suffix in SUFFIXES:
        return _read_templates(Path(word))
    words = ", ".join((DEFAULT, COOP, *(name for name in known if name != COOP)))
    raise UsageError(
        f"data.template: {word!r} has no {{}} for the class name, and is neither a file nor one of"
        f" {words}"
    )


def _read_templates(path: Path) -> tuple[str, ...]:
    source = f"data.template: {path}"
    texts = read_list_file(path, source)
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise UsageError(f"{source}: must hold a list of texts")
    for text in texts:
        if "{}" not in text:
            raise UsageError(f"{source}: {text!r} has no {{}} for the class name")
        if texts.count(text) > 1:
            raise UsageError(f"{source}: {text!r} is given twice")
    return tuple(texts)


@cache
def _known_templates() -> dict[str, Any]:
    known: dict[str, Any] = json.loads((files("harness") / "data" / "templates.json").read_text())
    return known
