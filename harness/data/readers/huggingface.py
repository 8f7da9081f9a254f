"""Reads a data set of the Hugging Face hub, or one saved on disk, with the `datasets` library."""

import logging
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np

from harness.data.dataset import Dataset
from harness.data.readers import holdout, image_files, validation
from harness.data.readers.validation import SPLIT_WORDS
from methods.kit.core.errors import UsageError

PREFIX = "hf:"
UNLABELLED = -1  # how test labels are kept back


class Cells(Sequence[bytes]):
    """The image cells of a data set, read when indexed."""

    def __init__(self, table: Any, column: str, rows: Sequence[int]) -> None:
        self.table, self.column, self.chosen = table, column, rows

    def __len__(self) -> int:
        return len(self.chosen)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> "Cells": ...
    def __getitem__(self, index: int | slice) -> "bytes | Cells":
        if isinstance(index, slice):
            return Cells(self.table, self.column, self.chosen[index])
        cell = self.table[int(self.chosen[index])][self.column]
        data = cell["bytes"]
        return bytes(data) if data is not None else Path(cell["path"]).read_bytes()

    def take(self, rows: Iterable[int]) -> "Cells":
        """Some of them, not read yet."""
        return Cells(self.table, self.column, [self.chosen[row] for row in rows])


def read(word: str, template: str) -> Dataset:
    """The table of ``hf:NAME``, ``hf:NAME:CONFIG`` or ``hf:FOLDER``. Raises UsageError.

    Without a test split that has labels the validation split is tested, as the field does for
    ImageNet; without either, a fixed share of the training images.
    """
    parts = _load(word)
    first = next(iter(parts.values()))
    image, label = _columns(word, first.features)
    names = validation.check_class_names(word, _names(word, first, label))
    parts = {name: part for name, part in parts.items() if _labelled(part, label)}
    if "train" not in parts:
        raise UsageError(f"{word}: it has no train images with labels")
    if "test" not in parts and "val" in parts:
        parts["test"] = parts.pop("val")
    return _joined(word, parts, image, label, names, template)


def _joined(
    word: str,
    parts: dict[str, Any],
    image: str,
    label: str,
    names: tuple[str, ...],
    template: str,
) -> Dataset:
    import datasets

    whole = datasets.concatenate_datasets(list(parts.values()))
    split = np.array([name for name, part in parts.items() for _ in range(len(part))])
    labels = _labels(word, whole, label, names)
    kept = whole.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    images = Cells(kept, image, range(len(whole)))
    shas = image_files.image_hashes(images)
    if list(parts) == ["train"]:
        split = holdout.hold_out(labels, shas, names, word)
    digest = image_files.content_digest(shas, labels.tolist(), split.tolist(), names)
    blank = np.full(len(labels), "")
    return Dataset(word, names, template, labels, split, blank, images, digest)


def _load(word: str) -> dict[str, Any]:
    """The splits under the names used here."""
    try:
        import datasets
    except ImportError:
        raise UsageError(
            f"{word}: needs the library datasets; pip install 'ringbench[datasets]'"
        ) from None
    place, _, config = word.removeprefix(PREFIX).partition(":")
    if not place:
        raise UsageError("data.name: hf: needs a name, such as hf:beans")
    try:
        if Path(place).is_dir():
            found = datasets.load_from_disk(place)
        else:
            logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # it tells each try
            with _what_is_here():
                found = datasets.load_dataset(place, config or None)
    except Exception as error:  # whatever its transport, readers and scripts raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(f"{word}: cannot be loaded: {reason[:200]}") from None
    if isinstance(found, datasets.Dataset):
        return {"train": found}
    parts = {SPLIT_WORDS.get(name.lower(), name): part for name, part in found.items()}
    known = {name: part for name, part in parts.items() if name in validation.SPLITS}
    if not known:
        raise UsageError(f"{word}: its splits {', '.join(found)} are none of train, val, test")
    return known


@contextmanager
def _what_is_here() -> Iterator[None]:
    """Where the hub has no address, its libraries look at the disk alone, at once: else they ask
    again and again for half a minute."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if not before[0] and not getproxies() and not _known(urlsplit(constants.ENDPOINT).hostname):
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _known(host: str | None) -> bool:
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def _columns(word: str, features: Any) -> tuple[str, str]:
    """The columns of the image and of the label."""
    import datasets

    images = [n for n, f in features.items() if isinstance(f, datasets.Image)]
    labels = [n for n, f in features.items() if isinstance(f, datasets.ClassLabel)]
    labels = labels or [n for n, f in features.items() if n in ("label", "labels")]
    for kind, found, usual in (("an image", images, "image"), ("a label", labels, "label")):
        if not found:
            raise UsageError(f"{word}: no column holds {kind}; it has {', '.join(features)}")
        if len(found) > 1 and usual not in found:
            raise UsageError(f"{word}: columns {', '.join(found)} could all be {kind}")
    return ("image" if "image" in images else images[0]), (
        "label" if "label" in labels else labels[0]
    )


def _names(word: str, part: Any, label: str) -> list[str]:
    import datasets

    feature = part.features[label]
    if isinstance(feature, datasets.ClassLabel):
        return list(feature.names)
    found = part.unique(label)
    if any(not isinstance(value, int | str) for value in found):
        raise UsageError(f"{word}: column {label!r} must hold whole numbers or words")
    return [str(value) for value in sorted(found)]


def _labels(word: str, whole: Any, label: str, names: tuple[str, ...]) -> np.ndarray:
    import datasets

    given = list(whole[label])
    if not isinstance(whole.features[label], datasets.ClassLabel):
        place = {name: i for i, name in enumerate(names)}
        strange = next((v for v in given if str(v) not in place), None)
        if strange is not None:
            raise UsageError(f"{word}: label {strange!r} has no training images")
        given = [place[str(value)] for value in given]
    if any(value is None or not 0 <= value < len(names) for value in given):
        raise UsageError(f"{word}: column {label!r} has rows without a label")
    return np.array(given, dtype=np.int64)


def _labelled(part: Any, label: str) -> bool:
    values = set(part[label][: len(part)])
    return bool(values - {UNLABELLED, None})
