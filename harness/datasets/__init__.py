"""Where data sets come from: the embedded suite by name, anything else by its file."""

import json
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from harness.datasets.table import Table
from methods.kit.errors import UsageError, unknown

GENERIC_TEMPLATE = "a photo of a {}."


def names() -> tuple[str, ...]:
    """The data sets that are known by name."""
    return tuple(_embedded())


def about(name: str) -> dict[str, Any]:
    """What is known of a named data set without reading it."""
    return dict(_embedded()[name])


def defaults_of(name: str) -> dict[str, Any]:
    """Settings of ``data`` that fit this set (its smallest class), where they are known."""
    known = _embedded().get(name, {})
    return {key: known[key] for key in ("shots", "val_shots") if key in known}


def check_name(name: str) -> None:
    """Raises UsageError for a data set that is neither known nor a Parquet file that exists."""
    if name in _embedded():
        return
    path = Path(name)
    if path.suffix != ".parquet":
        if path.exists():
            raise UsageError(f"data.name: {name!r} is not a Parquet file")
        raise unknown(f"data set {name!r}", name, names())
    if not path.is_file():
        reason = "a folder, not a Parquet file" if path.is_dir() else "no such file"
        raise UsageError(f"data.name: {name}: {reason}")


@cache
def read(name: str) -> Table:
    """The table of a data set, read once a process."""
    from harness.datasets import parquet  # pyarrow is slow to import and listings do not need it

    check_name(name)
    if name not in _embedded():
        return parquet.read(Path(name), Path(name).stem, GENERIC_TEMPLATE)
    known = _embedded()[name]
    with as_file(files("harness") / "embedded" / "tasks" / known["file"]) as path:
        table = parquet.read(path, name, known["template"])
    if list(table.classnames) != known["classnames"]:
        raise UsageError(f"data set {name!r}: the file's class names differ from tasks.json")
    return table


@cache
def _embedded() -> dict[str, dict[str, Any]]:
    text = (files("harness") / "embedded" / "tasks" / "tasks.json").read_text()
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found
