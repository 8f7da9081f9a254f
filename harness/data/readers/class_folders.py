"""Reads a folder of class folders, in train, val and test folders or not."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.data.dataset import Dataset
from harness.data.readers import holdout, image_files, validation
from harness.data.readers.image_files import Files
from harness.data.readers.validation import SPLIT_WORDS
from methods.kit.core.errors import UsageError

OTHER = {"__macosx", "@eadir"}  # what unpackers and file servers leave behind


@dataclass
class FoundImages:
    """Images met so far, in order."""

    paths: list[Path] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    ignored: list[Path] = field(default_factory=list)


def read(root: Path, template: str) -> Dataset:
    """The table of a folder. Classes are sorted by name, images by path. Raises UsageError."""
    found = FoundImages()
    parts = _folders(root)
    named = _split_folders(root, parts)
    for part in sorted(named, key=lambda p: SPLIT_WORDS[p.name.lower()]):
        _classes(part, SPLIT_WORDS[part.name.lower()], found)
    if not named:
        _classes(root, "", found)
    names = validation.check_class_names(str(root), sorted(set(found.names)))
    place = {name: i for i, name in enumerate(names)}
    labels = np.array([place[name] for name in found.names], dtype=np.int64)
    paths = tuple(path.relative_to(root).as_posix() for path in found.paths)
    images = Files(root, paths)
    shas = image_files.image_hashes(images)
    if named:
        split = validation.check_splits(str(root), found.split)
    else:
        split = holdout.hold_out(labels, shas, names, str(root))
    return Dataset(
        name=root.resolve().name,
        classnames=names,
        template=template,
        labels=labels,
        split=split,
        domains=np.full(len(labels), ""),
        images=images,
        digest=image_files.content_digest(shas, labels.tolist(), split.tolist(), names),
        paths=paths,
        folder=root,
        ignored=tuple(path.relative_to(root).as_posix() for path in found.ignored),
    )


def _split_folders(root: Path, parts: list[Path]) -> list[Path]:
    """The train, val and test folders; none where a class merely has such a name ("train")."""
    named = [part for part in parts if part.name.lower() in SPLIT_WORDS]
    if len({SPLIT_WORDS[part.name.lower()] for part in named}) < 2 and len(named) < len(parts):
        return []
    if len(named) < len(parts):
        other = next(part for part in parts if part not in named)
        raise UsageError(f"{root}: {other.name!r} lies beside {named[0].name!r}; move it away")
    return named


def _classes(root: Path, split: str, found: FoundImages) -> None:
    """The class folders in ``root``."""
    loose = [
        p for p in _entries(root) if p.suffix.lower() in image_files.SUFFIXES and not p.is_dir()
    ]
    folders = _folders(root)
    if not folders:
        reason = "no class folders; put the images of each class into a folder of its name"
        raise UsageError(f"{root}: {reason}")
    if loose:
        raise UsageError(f"{loose[0]}: lies beside the class folders; move it into its class's")
    for folder in folders:
        before, beside = len(found.paths), len(found.ignored)
        for path in _walk(folder):
            if path.suffix.lower() not in image_files.SUFFIXES:
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
    """All files below a folder that are not hidden, sorted."""
    for path in _entries(folder):
        if path.is_dir():
            if path.name.lower() not in OTHER and not path.is_symlink():
                yield from _walk(path)
        else:
            yield path


def _folders(root: Path) -> list[Path]:
    return [p for p in _entries(root) if p.is_dir() and p.name.lower() not in OTHER]


def _entries(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except PermissionError:
        raise UsageError(f"{folder}: no permission to read it") from None
    except NotADirectoryError:
        raise UsageError(f"{folder}: not a folder") from None
    return [path for path in found if not path.name.startswith(".")]
