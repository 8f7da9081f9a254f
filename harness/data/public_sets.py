"""The public data sets as public_sets.toml describes them: folders, listings, counts."""

import os
import tomllib
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from methods.kit.core.errors import UsageError, unknown

ROOT = "RINGBENCH_DATA"
PATHS = "paths.toml"  # in the root: sets in other folders
PLACES = ("folder", "images", "split", "train_folder", "test_folder")  # keys of paths.toml
SHIFTED = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")


@dataclass(frozen=True)
class PublicSet:
    """One public data set: its folder, how its rows are listed, and its published counts."""

    name: str
    title: str
    folder: str
    images: str
    listing: Literal["split", "variants", "classes", "numbered"]
    template: str
    classes: int
    train: int
    val: int
    test: int
    base_test: int | None = None  # test images of the first half of the classes
    split: str = ""
    train_folder: str = ""
    test_folder: str = ""
    aliases: tuple[str, ...] = ()
    rename: dict[str, str] = field(default_factory=dict)


@cache
def known_sets() -> dict[str, PublicSet]:
    """Return every public data set, in the order of papers' tables."""
    text = (files("harness") / "data" / "public_sets.toml").read_text()
    return parse_sets(tomllib.loads(text))


def parse_sets(raw: dict[str, Any]) -> dict[str, PublicSet]:
    """Return the sets that a table describes."""
    return {
        name: PublicSet(name, **{**facts, "aliases": tuple(facts.get("aliases", ()))})
        for name, facts in raw.items()
    }


def collections() -> dict[str, tuple[str, ...]]:
    """Return the names that stand for several sets."""
    shifted = tuple(name for name in known_sets() if name in SHIFTED)
    return {"all11": tuple(n for n in known_sets() if n not in SHIFTED), "shift4": shifted}


def canonical_name(name: str) -> str:
    """Return the name behind an alias (``pets``), and any other word unchanged."""
    for known in known_sets().values():
        if name in known.aliases:
            return known.name
    return name


def root_folder(given: str, name: str) -> Path:
    """Return the folder of the sets: ``data.root``, else RINGBENCH_DATA. Raises UsageError."""
    named = given or os.environ.get(ROOT, "")
    if not named:
        raise UsageError(
            f"data set {name!r} is read from a folder: set {ROOT} or data.root to the folder that"
            f" holds {known_sets()[name].folder}/ (docs/data.md shows the layout)"
        )
    root = Path(named).expanduser()
    if not root.is_dir():
        key = "data.root" if given else ROOT
        raise UsageError(f"{key}: {root}: no such folder")
    return root


def locate_set(name: str, root: Path) -> PublicSet:
    """Return the set as paths.toml in the root locates it. Raises UsageError."""
    path, known = root / PATHS, known_sets()[name]
    try:
        stored = tomllib.loads(path.read_text()) if path.is_file() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path}: not TOML ({error})") from None
    for key in stored:
        if key not in known_sets():
            raise unknown(f"{path}: {key}", key, known_sets())
    given = stored.get(name, {})
    given = given if isinstance(given, dict) else {"folder": given}
    for key, value in given.items():
        if key not in PLACES:
            raise unknown(f"{path}: {name}.{key}", key, PLACES)
        if not isinstance(value, str):
            raise UsageError(f"{path}: {name}.{key}: expected a path, got {value!r}")
    return replace(known, **given)
