"""The texts around class names: sets known by name (templates.json), a file, or a text itself.

Of several templates a class's text feature is the mean of its normalised features, normalised, as
CLIP does it.
"""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from harness.data import class_names
from harness.data.dataset import Dataset
from methods.kit.core.errors import UsageError

DEFAULT, COOP = "default", "coop"
SUFFIXES = (".txt", ".json")


def template_words() -> tuple[str, ...]:
    """The words that ``data.template`` takes besides a text or a file."""
    return (DEFAULT, COOP, *_known())


def resolve_templates(word: str, table: Dataset) -> tuple[str, ...]:
    """The templates that a word stands for, on a data set. Raises UsageError.

    ``default`` is the data set's own, ``coop`` CoOp's for its 15 sets and "a photo of a {}." for
    any other.
    """
    if word == DEFAULT:
        return (table.template,)
    if word == COOP:
        coop = _coop()
        return (coop.get(table.name, coop["any"]),)
    if word in _known():
        return tuple(_known()[word])
    if "{}" in word:
        return (word,)
    if Path(word).suffix in SUFFIXES:
        return _file(Path(word))
    raise UsageError(
        f"data.template: {word!r} has no {{}} for the class name, and is neither a file nor one of"
        f" {', '.join(template_words())}"
    )


def _file(path: Path) -> tuple[str, ...]:
    source = f"data.template: {path}"
    text = class_names.read_text_file(path, source)
    if path.suffix == ".txt":
        found = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(f"{source}: not JSON ({error})") from None
    if not isinstance(found, list) or not found or not all(isinstance(t, str) for t in found):
        raise UsageError(f"{source}: must hold a list of texts")
    odd = next((t for t in found if "{}" not in t), None)
    if odd is not None:
        raise UsageError(f"{source}: {odd!r} has no {{}} for the class name")
    twice = next((t for t in found if found.count(t) > 1), None)
    if twice is not None:
        raise UsageError(f"{source}: {twice!r} stands there twice")
    return tuple(found)


@cache
def _known() -> dict[str, list[str]]:
    text = (files("harness") / "data" / "templates.json").read_text()
    found: dict[str, list[str]] = {k: v for k, v in json.loads(text).items() if k != COOP}
    return found


@cache
def _coop() -> dict[str, str]:
    text = (files("harness") / "data" / "templates.json").read_text()
    found: dict[str, str] = json.loads(text)[COOP]
    return found
