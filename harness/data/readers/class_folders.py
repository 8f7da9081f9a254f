"""Reads a folder of class folders, with or without train, val and test folders above them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.dataset import Dataset
from harness.data.readers.image_files import SUFFIXES, ImageFiles, list_folder
from harness.data.readers.own_data import build_dataset
from harness.data.readers.validation import SPLIT_WORDS, number_classes
from methods.kit.core.errors import UsageError

OTHER = {"__macosx", "@eadir"}  # what unpackers and file servers leave behind


@dataclass
class FoundImages:
    """Images found so far, in order."""

    paths: list[Path] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    ignored: list[Path] = field(default_factory=list)


def read(root: Path) -> Dataset:
    """Read a folder. Classes are sorted by name, images by path. Raises UsageError."""
    found = FoundImages()
    named = _split_folders(root)
    for part in sorted(named, key=lambda p: SPLIT_WORDS[p.name.lower()]):
        _find_classes(part, SPLIT_WORDS[part.name.lower()], found)
    if not named:
        _find_classes(root, "", found)
    labels, names = number_classes(found.names)
    paths = [path.relative_to(root).as_posix() for path in found.paths]
    return build_dataset(
        source=str(root),
        name=root.resolve().name,
        images=ImageFiles(root, paths),
        labels=labels,
        names=names,
        split_words=found.split if named else None,
        paths=paths,
        folder=root,
        ignored=[path.relative_to(root).as_posix() for path in found.ignored],
    )


def _split_folders(root: Path) -> list[Path]:
    """Return the train, val and test folders; none where a class merely has such a name."""
    parts = _folders(root)
    named = [part for part in parts if part.name.lower() in SPLIT_WORDS]
    if len({SPLIT_WORDS[part.name.lower()] for part in named}) < 2 and len(named) < len(parts):
        return []
    if len(named) < len(parts):
        other = next(part for part in parts if part not in named)
        raise UsageError(f"{root}: {other.name!r} lies beside {named[0].name!r}; move it away")
    return named


def _find_classes(root: Path, split: str, found: FoundImages) -> None:
    """Add the images of the class folders in ``root``."""
    folders = _folders(root)
    if not folders:
        reason = "no class folders; put the images of each class into a folder of its name"
        raise UsageError(f"{root}: {reason}")
    for path in _entries(root):
        if path.suffix.lower() in SUFFIXES and not path.is_dir():
            raise UsageError(f"{path}: lies beside the class folders; move it into its class's")
    for folder in folders:
        before, beside = len(found.paths), len(found.ignored)
        for path in _walk(folder):
            if path.suffix.lower() not in SUFFIXES:
                found.ignored.append(path)
                continue
            if not path.is_file():
                raise UsageError(f"{path}: not a file but a broken link or a device; remove it")
            found.paths.append(path)
            found.names.append(folder.name)
            found.split.append(split)
        if len(found.paths) == before:
            other = found.ignored[beside:]
            kind = f"only files such as {other[0].name!r}" if other else "no images"
            raise UsageError(f"{folder}: {kind} in this class folder; add images or remove it")


def _walk(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder that are not hidden, sorted."""
    for path in _entries(folder):
        if not path.is_dir():
            yield path
        elif path.name.lower() not in OTHER and not path.is_symlink():
            yield from _walk(path)


def _folders(root: Path) -> list[Path]:
    return [p for p in _entries(root) if p.is_dir() and p.name.lower() not in OTHER]


def _entries(folder: Path) -> list[Path]:
    return [folder / name for name in list_folder(folder)]
