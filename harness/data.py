"""A data set decoded once, cut into what is trained on, what selects, and what is tested.

Test images lie in a vault that only `evaluate` opens, after selection is closed; the vault counts
how often it was read.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from harness import datasets, decoding, pixels, protocols, shots
from harness.backbone import Transform
from harness.datasets import classnames, templates
from harness.datasets.table import Table
from harness.pixels import Pixels
from harness.spec import Spec
from methods.kit.errors import UsageError

SHOWN = 20  # skipped images that are named in a record


@dataclass(frozen=True)
class Images:
    """Images of some classes: uint8 pixels (n, 3, h, w), labels within ``classnames``, row ids."""

    name: str
    classnames: tuple[str, ...]
    pixels: Pixels = field(repr=False)
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
    templates: tuple[str, ...]  # several are an ensemble
    hashes: dict[str, str]

    @property
    def template(self) -> str:
        """The text that methods with prompts of their own begin with."""
        return self.templates[0]


def load(spec: Spec, transform: Transform) -> Split:
    """The split of a spec. Raises UsageError for unreadable images and classes too small."""
    table = _open(spec)
    skipped = pixels.unreadable(table, transform) if spec.data.skip_corrupt else {}
    table = table.without(skipped) if skipped else table
    texts = templates.resolve(spec.data.template, table)
    plan = protocols.plan(spec.protocol, len(table.classnames))
    drawn = shots.draw(table, spec.data, spec.seed)
    base = f"{table.digest}:{transform.digest()}"

    def images(space: protocols.LabelSpace, rows: np.ndarray) -> Images:
        place = {c: i for i, c in enumerate(space.classes)}
        kept = [r for r in rows.tolist() if int(table.labels[r]) in place]
        labels = torch.tensor([place[int(table.labels[r])] for r in kept], dtype=torch.long)
        called = tuple(table.classnames[c] for c in space.classes)
        key = f"{base}:{_hash(kept)}"
        decoded = pixels.decode(table, transform, kept)
        return Images(space.name, called, decoded, labels, tuple(kept), key)

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
        templates=texts,
        hashes={
            "data_hash": _hash([table.digest, sorted(skipped)]) if skipped else table.digest,
            "subset_hash": _hash([drawn.train.tolist(), drawn.val.tolist()]),
            "names_hash": _hash(table.classnames),
            "template_hash": _hash(texts[0] if len(texts) == 1 else texts),
            "transform_hash": transform.digest(),
            **({"skipped": _listed(table, skipped)} if skipped else {}),
        },
    )


def check(spec: Spec) -> int:
    """All that can be wrong with the data of a spec before an image is decoded.

    Returns the number of classes that are trained on.
    """
    table = _open(spec)
    templates.resolve(spec.data.template, table)
    plan = protocols.plan(spec.protocol, len(table.classnames))
    shots.draw(table, spec.data, spec.seed)
    return len(plan.train.classes)


def _open(spec: Spec) -> Table:
    """The table of a spec under the class names it asks for."""
    table = datasets.read(spec.data.name, spec.data.root)
    if spec.data.content and table.digest != spec.data.content:
        raise UsageError(
            f"data.content: {spec.data.name} was {spec.data.content} and is {table.digest} now;"
            " leave data.content out to use it as it is"
        )
    return classnames.renamed(table, spec.data.classnames)


def _listed(table: Table, skipped: decoding.Bad) -> str:
    """How many images were left out, and the first of them."""
    shown = [table.where(row) for row in list(skipped)[:SHOWN]]
    return f"{len(skipped)}: {', '.join(shown)}" + (", ..." if len(skipped) > SHOWN else "")


def _hash(value: Sequence[object] | str) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
