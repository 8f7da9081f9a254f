"""Finds data sets: the embedded suite and the public sets by name, all others by their prefix.

``torchvision:NAME`` and ``hf:NAME`` are libraries' sets; a path is a folder of class folders or a
CSV, TSV or Parquet file.
"""

import json
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from harness.data import public_sets
from harness.data.dataset import Dataset
from methods.kit.core.errors import UsageError, unknown

TABLES = (".parquet", ".csv", ".tsv")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


def embedded_names() -> tuple[str, ...]:
    """Return the data sets that come with the package."""
    return tuple(_embedded())


def known_names() -> tuple[str, ...]:
    """Return every named data set: those of the package, then the public ones."""
    return (*embedded_names(), *public_sets.known_sets())


def set_collections() -> dict[str, tuple[str, ...]]:
    """Return the names that stand for several data sets."""
    return {**public_sets.collections(), "embedded": embedded_names()}


def describe_set(name: str) -> dict[str, Any]:
    """Return what is known of a named data set without reading it."""
    if name in _embedded():
        return dict(_embedded()[name])
    facts = vars(public_sets.known_sets()[name])
    usual = {"shots": 16, "val_shots": 4}
    return {**facts, **usual, "note": f"{facts['title']}, from {facts['folder']}/ of the data root"}


def default_settings(name: str) -> dict[str, Any]:
    """Return settings of ``data`` that suit this set.

    An embedded set has shots for its smallest class; small classes of public sets are taken whole,
    as in the papers.
    """
    if name in public_sets.known_sets():
        return {"short_classes": "take"}
    facts = _embedded().get(name, {})
    return {key: facts[key] for key in ("shots", "val_shots") if key in facts}


def content_hash(name: str, root: str = "") -> str:
    """Return the content hash of own data; empty for known sets. Raises UsageError."""
    return "" if name in known_names() else read_dataset(name, root).digest


def check_name(name: str) -> None:
    """Raise UsageError for a name that is neither known nor an existing folder or table."""
    if name in known_names() or name.startswith(("hf:", "torchvision:")):
        return
    if name in set_collections():
        raise UsageError(f"data.name: {name} stands for several data sets; use `ringbench suite`")
    path = Path(name)
    if "://" in name:
        raise UsageError(f"data.name: {name} is a URL; download it and give the folder or file")
    if path.suffix.lower() in ARCHIVES:
        raise UsageError(f"data.name: {name} is an archive; unpack it and give the folder")
    if path.suffix in TABLES and not path.exists():
        raise UsageError(f"data.name: {name}: no such file")
    if not name.strip() or (not path.is_dir() and path.suffix not in TABLES):
        if path.is_file():
            raise UsageError(f"data.name: {name} is neither a folder nor {', '.join(TABLES)}")
        raise unknown(f"data set {name!r}", name, known_names())


def is_present(name: str, root: str = "") -> bool:
    """Return whether the folder of a known data set exists."""
    if name not in public_sets.known_sets():
        return True
    try:
        base = public_sets.root_folder(root, name)
        return (base / public_sets.locate_set(name, base).folder).is_dir()
    except UsageError:
        return False


def read_dataset(name: str, root: str = "") -> Dataset:
    """Read a data set, once per process; ``root`` holds public and downloaded sets.

    Raises UsageError in one line.
    """
    check_name(name)
    if name in public_sets.known_sets():
        return _read_public(name, str(public_sets.root_folder(root, name).resolve()))
    return _read(name, root, str(Path.cwd()))


@cache
def _read_public(name: str, root: str) -> Dataset:
    from harness.data.readers import coop

    return coop.read(name, root)


@cache
def _read(name: str, root: str, here: str) -> Dataset:
    """Read a set; ``here`` is what a relative path starts from."""
    if name in _embedded():
        return _from_package(name)
    if name.startswith("hf:"):
        from harness.data.readers import huggingface

        return huggingface.read(name)
    if Path(name).is_dir():
        from harness.data.readers import class_folders

        return class_folders.read(Path(name))
    from harness.data.readers import table_file

    path = Path(name)
    if name.startswith("torchvision:"):
        from harness.data.readers import torchvision

        path = torchvision.find_table(name, root)
    return table_file.read(path, path.stem)


def _from_package(name: str) -> Dataset:
    from harness.data.readers import table_file

    known = _embedded()[name]
    with resources.as_file(_tasks() / known["file"]) as path:
        table = table_file.read(path, name, known["template"])
    if list(table.classnames) != known["classnames"]:
        raise UsageError(f"data set {name!r}: the file's class names differ from tasks.json")
    return table


@cache
def _embedded() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((_tasks() / "tasks.json").read_text())
    return found


def _tasks() -> Traversable:
    return resources.files("harness") / "embedded" / "tasks"
