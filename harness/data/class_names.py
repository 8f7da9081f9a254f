"""Class names from a file: a text with one per line, a JSON list, or a JSON object old -> new."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.data.dataset import Dataset
from harness.data.readers.validation import check_class_names
from methods.kit.core.errors import UsageError, unknown


def rename_classes(table: Dataset, file: str) -> Dataset:
    """Return the data set with the class names of a file, if one is named. Raises UsageError."""
    if not file:
        return table
    source = f"data.classnames: {file}"
    given = read_list_file(Path(file), source)
    values = list(given.values()) if isinstance(given, dict) else given
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise UsageError(f"{source}: must hold a list of names, or an object old name: new name")
    if isinstance(given, dict):
        other = next((old for old in given if old not in table.classnames), None)
        if other is not None:
            raise unknown(f"{source}: class {other!r}", other, table.classnames)
        values = [given.get(name, name) for name in table.classnames]
    if len(values) != len(table.classnames):
        raise UsageError(
            f"{source}: {len(values)} names for the {len(table.classnames)} classes of {table.name}"
        )
    return replace(table, classnames=check_class_names(source, values))


def read_list_file(path: Path, source: str) -> Any:
    """Return the lines of a text file that are not blank, or the content of a JSON file.

    ``source`` is what errors name. Raises UsageError.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{source}: no such file") from None
    except UnicodeDecodeError:
        raise UsageError(f"{source}: not a text file in UTF-8") from None
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror}") from None
    if path.suffix != ".json":
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{source}: not JSON ({error})") from None
