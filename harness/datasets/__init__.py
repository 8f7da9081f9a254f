"""Where data sets come from: the embedded suite by name, the public sets by name from a folder,
anything else by its file."""

import json
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from harness.datasets import sets
from harness.datasets.table import Table
from methods.kit.errors import UsageError, unknown

GENERIC_TEMPLATE = "a photo of a {}."


def names() -> tuple[str, ...]:
    """The data sets that come with the package."""
    return tuple(_embedded())


def known() -> tuple[str, ...]:
    """Every data set that has a name: those of the package, then the public ones."""
    return (*names(), *sets.table())


def collections() -> dict[str, tuple[str, ...]]:
    """Names that stand for several data sets."""
    return {**sets.collections(), "embedded": names()}


def canonical(name: str) -> str:
    """A data set's own name where an alias was given."""
    return sets.canonical(name)


def about(name: str) -> dict[str, Any]:
    """What is known of a named data set without reading it."""
    if name in _embedded():
        return dict(_embedded()[name])
    facts = vars(sets.table()[name])
    usual = {"shots": 16, "val_shots": 4}
    return {**facts, **usual, "note": f"{facts['title']}, from {facts['folder']}/ of the data root"}


def defaults_of(name: str) -> dict[str, Any]:
    """Settings of ``data`` that fit this set, where they are known.

    An embedded set brings shots for its smallest class; in the public ones, as in the papers,
    classes smaller than that are taken whole.
    """
    if name in sets.table():
        return {"short_classes": "take"}
    facts = _embedded().get(name, {})
    return {key: facts[key] for key in ("shots", "val_shots") if key in facts}


def check_name(name: str) -> None:
    """Raises UsageError for a data set that is neither known nor a Parquet file that exists."""
    if name in known():
        return
    if name in collections():
        raise UsageError(f"data.name: {name} stands for several data sets; use `ringbench suite`")
    path = Path(name)
    if path.suffix != ".parquet":
        if path.exists():
            raise UsageError(f"data.name: {name!r} is not a Parquet file")
        raise unknown(f"data set {name!r}", name, known())
    if not path.is_file():
        reason = "a folder, not a Parquet file" if path.is_dir() else "no such file"
        raise UsageError(f"data.name: {name}: {reason}")


def read(name: str, root: str = "") -> Table:
    """The table of a data set, read once a process; ``root`` holds the public ones."""
    check_name(name)
    if name in sets.table():
        return _read_public(name, str(sets.root_folder(root, name).resolve()))
    return _read(name)


@cache
def _read_public(name: str, root: str) -> Table:
    from harness.datasets import coop

    return coop.read(name, root)


@cache
def _read(name: str) -> Table:
    from harness.datasets import parquet  # pyarrow is slow to import and listings do not need it

    if name not in _embedded():
        return parquet.read(Path(name), Path(name).stem, GENERIC_TEMPLATE)
    facts = _embedded()[name]
    with as_file(files("harness") / "embedded" / "tasks" / facts["file"]) as path:
        table = parquet.read(path, name, facts["template"])
    if list(table.classnames) != facts["classnames"]:
        raise UsageError(f"data set {name!r}: the file's class names differ from tasks.json")
    return table


@cache
def _embedded() -> dict[str, dict[str, Any]]:
    text = (files("harness") / "embedded" / "tasks" / "tasks.json").read_text()
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found
