"""Reads a data set of the Hugging Face hub, or one saved on disk, with the `datasets` library."""

import logging
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np

from harness.data.dataset import Dataset
from harness.data.readers.image_files import LazyImages
from harness.data.readers.own_data import build_dataset
from harness.data.readers.validation import SPLIT_WORDS, SPLITS, check_class_names
from methods.kit.core.errors import UsageError

PREFIX = "hf:"
UNLABELLED = -1  # marks test labels that are not published


class ImageCells(LazyImages):
    """The image cells of a data set."""

    def __init__(self, table: Any, column: str, rows: Sequence[int]) -> None:
        self.table, self.column, self.rows = table, column, rows

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, row: int) -> bytes:
        cell = self.table[int(self.rows[row])][self.column]
        data = cell["bytes"]
        return bytes(data) if data is not None else Path(cell["path"]).read_bytes()

    def take(self, rows: Iterable[int]) -> "ImageCells":
        return ImageCells(self.table, self.column, [self.rows[row] for row in rows])


def read(word: str) -> Dataset:
    """Read ``hf:NAME``, ``hf:NAME:CONFIG`` or ``hf:FOLDER``. Raises UsageError.

    Without a labelled test split the validation split is tested, as the field does for ImageNet;
    without either, a fixed share of the training images.
    """
    parts = _load(word)
    import datasets

    first = next(iter(parts.values()))
    image, label = _columns(word, first.features)
    names = check_class_names(word, _class_names(word, first, label))
    parts = {name: part for name, part in parts.items() if _is_labelled(part, label)}
    if "train" not in parts:
        raise UsageError(f"{word}: it has no train images with labels")
    if "test" not in parts and "val" in parts:
        parts["test"] = parts.pop("val")
    whole = datasets.concatenate_datasets(list(parts.values()))
    cells = whole.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    split = [name for name, part in parts.items() for _ in range(len(part))]
    return build_dataset(
        source=word,
        name=word,
        images=ImageCells(cells, image, range(len(whole))),
        labels=_labels(word, whole, label, names),
        names=names,
        split_words=None if list(parts) == ["train"] else split,
    )


def _load(word: str) -> dict[str, Any]:
    """Return the splits under the names used here."""
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
            loaded = datasets.load_from_disk(place)
        else:
            logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # it reports each retry
            with _offline_without_network():
                loaded = datasets.load_dataset(place, config or None)
    except Exception as error:  # whatever its transport, readers and scripts raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(f"{word}: cannot be loaded: {reason[:200]}") from None
    if isinstance(loaded, datasets.Dataset):
        return {"train": loaded}
    parts = {SPLIT_WORDS.get(name.lower(), name): part for name, part in loaded.items()}
    known = {name: part for name, part in parts.items() if name in SPLITS}
    if not known:
        raise UsageError(f"{word}: its splits {', '.join(loaded)} are none of train, val, test")
    return known


@contextmanager
def _offline_without_network() -> Iterator[None]:
    """Let the hub's libraries read only the disk if the hub has no address; they would retry for
    half a minute otherwise."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if not before[0] and not getproxies() and not _resolves(urlsplit(constants.ENDPOINT).hostname):
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _resolves(host: str | None) -> bool:
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def _columns(word: str, features: Any) -> tuple[str, str]:
    """Return the columns of the image and of the label."""
    import datasets

    images = [n for n, f in features.items() if isinstance(f, datasets.Image)]
    labels = [n for n, f in features.items() if isinstance(f, datasets.ClassLabel)]
    labels = labels or [n for n, f in features.items() if n in ("label", "labels")]
    for kind, found, usual in (("an image", images, "image"), ("a label", labels, "label")):
        if not found:
            raise UsageError(f"{word}: no column holds {kind}; it has {', '.join(features)}")
        if len(found) > 1 and usual not in found:
            raise UsageError(f"{word}: columns {', '.join(found)} could all be {kind}")
    image = "image" if "image" in images else images[0]
    return image, "label" if "label" in labels else labels[0]


def _class_names(word: str, part: Any, label: str) -> list[str]:
    import datasets

    feature = part.features[label]
    if isinstance(feature, datasets.ClassLabel):
        return list(feature.names)
    values = part.unique(label)
    if any(not isinstance(value, int | str) for value in values):
        raise UsageError(f"{word}: column {label!r} must hold whole numbers or words")
    return [str(value) for value in sorted(values)]


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


def _is_labelled(part: Any, label: str) -> bool:
    values = set(part[label][: len(part)])
    return bool(values - {UNLABELLED, None})
