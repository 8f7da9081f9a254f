"""Class names from a file: a text with one a line, a JSON list, or a JSON object old -> new."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.data.dataset import Dataset
from harness.data.readers import validation
from methods.kit.core.errors import UsageError, unknown


def rename_classes(table: Dataset, file: str) -> Dataset:
    """The table with the class names of a file. Raises UsageError in one line."""
    if not file:
        return table
    path = Path(file)
    source = f"data.classnames: {path}"
    given = _read(path, source)
    if isinstance(given, dict):
        odd = next((old for old in given if old not in table.classnames), None)
        if odd is not None:
            raise unknown(f"{source}: class {odd!r}", odd, table.classnames)
        given = [given.get(name, name) for name in table.classnames]
    if len(given) != len(table.classnames):
        raise UsageError(
            f"{source}: {len(given)} names for the {len(table.classnames)} classes of {table.name}"
        )
    return replace(table, classnames=validation.check_class_names(source, given))


def _read(path: Path, source: str) -> Any:
    text = read_text_file(path, source)
    if path.suffix != ".json":
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{source}: not JSON ({error})") from None
    values = list(found.values()) if isinstance(found, dict) else found
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise UsageError(f"{source}: must hold a list of names, or an object old name: new name")
    return found


def read_text_file(path: Path, source: str) -> str:
    """The text of a small file. Raises UsageError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{source}: no such file") from None
    except UnicodeDecodeError:
        raise UsageError(f"{source}: not a text file in UTF-8") from None
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror}") from None
