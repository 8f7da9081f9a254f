"""A data set decoded once, cut into what is trained on, what selects, and what is tested.

Test images lie in a vault that only `evaluate` opens, after selection is closed; the vault counts
how often it was read.
"""

import hashlib
import io
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from harness import datasets, protocols, shots
from harness.backbone import Transform
from harness.datasets.table import Table
from harness.spec import Spec
from methods.kit.errors import UsageError


@dataclass(frozen=True)
class Images:
    """Images of some classes: uint8 pixels (n, 3, h, w), labels within ``classnames``, row ids."""

    name: str
    classnames: tuple[str, ...]
    pixels: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    ids: tuple[int, ...] = field(repr=False)
    key: str = ""  # identifies the pixels: data set, transform and rows

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Vault:
    """Test images that can be read only once selection is closed."""

    parts: tuple[Images, ...] = field(repr=False)
    closed: bool = False
    reads: int = 0

    def close_selection(self) -> None:
        self.closed = True

    def open(self) -> tuple[Images, ...]:
        if not self.closed:
            raise RuntimeError("the test split was asked for before selection was closed")
        self.reads += 1
        return self.parts


@dataclass(frozen=True)
class Split:
    """What one run sees of a data set."""

    train: Images
    val: tuple[Images, ...]  # one a label space that is tested; empty without validation images
    vault: Vault
    template: str
    hashes: dict[str, str]


def load(spec: Spec, transform: Transform) -> Split:
    """The split of a spec. Raises UsageError for unreadable images and classes too small."""
    table = datasets.read(spec.data.name)
    template = check_template(spec.data.template, table)
    plan = protocols.plan(spec.protocol, len(table.classnames))
    drawn = shots.draw(table, spec.data, spec.seed)
    pixels = decode(table, transform)
    base = f"{table.digest}:{transform.digest()}"

    def images(space: protocols.LabelSpace, rows: np.ndarray) -> Images:
        place = {c: i for i, c in enumerate(space.classes)}
        kept = [r for r in rows.tolist() if int(table.labels[r]) in place]
        labels = torch.tensor([place[int(table.labels[r])] for r in kept], dtype=torch.long)
        names = tuple(table.classnames[c] for c in space.classes)
        key = f"{base}:{_hash(kept)}"
        return Images(space.name, names, pixels[kept], labels, tuple(kept), key)

    test = table.rows("test")
    parts = tuple(images(space, test) for space in plan.tests)
    empty = [p.name for p in parts if not len(p)]
    if empty:
        raise UsageError(f"data set {table.name!r}: no test images of the {empty[0]} classes")
    val = tuple(images(space, drawn.val) for space in plan.tests) if len(drawn.val) else ()
    return Split(
        train=images(plan.train, drawn.train),
        val=val,
        vault=Vault(parts),
        template=template,
        hashes={
            "data_hash": table.digest,
            "subset_hash": subset_hash(drawn),
            "names_hash": _hash(table.classnames),
            "template_hash": _hash(template),
            "transform_hash": transform.digest(),
        },
    )


def subset_hash(drawn: shots.Shots) -> str:
    """The identity of a few-shot subset, within its data set."""
    return _hash([drawn.train.tolist(), drawn.val.tolist()])


def check(spec: Spec) -> int:
    """All that can be wrong with the data of a spec before an image is decoded.

    Returns the number of classes that are trained on.
    """
    table = datasets.read(spec.data.name)
    check_template(spec.data.template, table)
    plan = protocols.plan(spec.protocol, len(table.classnames))
    shots.draw(table, spec.data, spec.seed)
    return len(plan.train.classes)


def check_template(template: str, table: Table) -> str:
    """The text around a class name; ``default`` is the data set's own."""
    if template == "default":
        return table.template
    if "{}" not in template:
        raise UsageError(f"data.template: {template!r} has no {{}} for the class name")
    return template


_decoded: OrderedDict[str, Tensor] = OrderedDict()


def decode(table: Table, transform: Transform) -> Tensor:
    """All images of a table as one uint8 tensor (rows, 3, h, w), decoded once a process."""
    key = f"{table.digest}:{transform.digest()}"
    if key not in _decoded:
        height, width = transform.size
        pixels = torch.empty(len(table.images), 3, height, width, dtype=torch.uint8)
        for row, data in enumerate(table.images):
            array = _pixels(data, transform, table, row)
            pixels[row] = torch.from_numpy(array).permute(2, 0, 1)
        _decoded[key] = pixels
        while len(_decoded) > 8:
            _decoded.popitem(last=False)
    _decoded.move_to_end(key)
    return _decoded[key]


# What Pillow raises for files that are no images, end early, or decode to something enormous.
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


def _pixels(data: bytes, transform: Transform, table: Table, row: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return transform.pixels(image)
    except UNREADABLE as error:
        name = table.classnames[int(table.labels[row])]
        reason = " ".join(str(error).split())
        if isinstance(error, UnidentifiedImageError):
            reason = "not an image" if data else "no bytes"
        raise UsageError(
            f"data set {table.name!r}: row {row} (class {name!r}) cannot be read: {reason};"
            " mend or remove it"
        ) from None


def _hash(value: Sequence[object] | str) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
