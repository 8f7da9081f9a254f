"""Data sets decoded once, cut into what is trained on, what selects, and what is tested.

Test images lie in a vault that only `evaluate` opens, after selection is closed; the vault counts
how often it was read.
"""

import hashlib
import io
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from harness import datasets, protocols, shots, subsets
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
    template: str = ""
    main: bool = True  # False for what is tested beside the protocol's own parts

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
    """What one run sees of its data sets."""

    train: Images
    val: tuple[Images, ...]  # one a label space that is tested; empty without validation images
    vault: Vault
    template: str
    hashes: dict[str, str]


def load(spec: Spec, transform: Transform) -> Split:
    """The split of a spec. Raises UsageError for unreadable images and classes too small."""
    source = _open(spec)
    table, plan, drawn = source.table, source.plan, source.drawn
    look = partial(_images, table, transform, template=source.template)
    test = table.rows("test")
    parts = [look(space, test) for space in plan.tests]
    parts += [look(space, test, main=False) for space in plan.extra]
    for target in source.targets:
        space = protocols.LabelSpace(target.name, tuple(range(len(target.classnames))))
        template = check_template(spec.data.template, target)
        rows = target.rows("test")
        parts.append(_images(target, transform, space, rows, template=template, main=False))
    empty = [p.name for p in parts if not len(p)]
    if empty:
        raise UsageError(f"data set {table.name!r}: no test images of the {empty[0]} classes")
    return Split(
        train=look(plan.train, drawn.train),
        val=tuple(look(space, drawn.val) for space in plan.tests) if len(drawn.val) else (),
        vault=Vault(tuple(parts)),
        template=source.template,
        hashes=_hashes(source, parts) | {"transform_hash": transform.digest()},
    )


def subset_hash(drawn: shots.Shots) -> str:
    """The identity of a few-shot subset, within its data set."""
    return _hash([drawn.train.tolist(), drawn.val.tolist()])


def data_hash(table: Table, targets: Sequence[Table]) -> str:
    """The identity of the data sets of a run; targets count where there are any."""
    return _hash([table.digest, *(t.digest for t in targets)]) if targets else table.digest


def check(spec: Spec) -> int:
    """All that can be wrong with the data of a spec before an image is decoded.

    Returns the number of classes that are trained on.
    """
    return len(_open(spec).plan.train.classes)


@dataclass(frozen=True)
class _Source:
    """The tables of a spec and what is taken of them; no image is decoded."""

    table: Table
    template: str
    plan: protocols.Plan
    drawn: shots.Shots
    targets: tuple[Table, ...]


def _open(spec: Spec) -> _Source:
    table = datasets.read(spec.data.name, spec.data.root)
    template = check_template(spec.data.template, table)
    plan = protocols.plan(spec.protocol, len(table.classnames), spec.data.generalized)
    drawn = shots.draw(table, spec.data, spec.seed)
    if spec.data.shots:
        subsets.verify(table, spec.data, spec.seed, drawn)
    targets = tuple(datasets.read(name, spec.data.root) for name in spec.data.targets)
    names = ["test", *(target.name for target in targets)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice and targets:
        raise UsageError(f"data.targets: two of the test sets are called {twice!r}")
    return _Source(table, template, plan, drawn, targets)


def _images(
    table: Table,
    transform: Transform,
    space: protocols.LabelSpace,
    rows: np.ndarray,
    template: str,
    main: bool = True,
) -> Images:
    """The rows that belong to a label space, decoded."""
    place = {c: i for i, c in enumerate(space.choice)}
    wanted = set(space.classes)
    kept = [r for r in rows.tolist() if int(table.labels[r]) in wanted]
    labels = torch.tensor([place[int(table.labels[r])] for r in kept], dtype=torch.long)
    names = tuple(table.classnames[c] for c in space.choice)
    key = f"{table.digest}:{transform.digest()}:{_hash(kept)}"
    pixels = decode(table, transform, kept)
    return Images(space.name, names, pixels, labels, tuple(kept), key, template, main)


def _hashes(source: _Source, parts: Sequence[Images]) -> dict[str, str]:
    """What identifies the data of a run; targets count where there are any."""
    table, targets = source.table, source.targets
    found = {
        "data_hash": data_hash(table, targets),
        "subset_hash": subset_hash(source.drawn),
        "names_hash": _hash(table.classnames),
        "template_hash": _hash(source.template),
    }
    if targets:
        tested = parts[-len(targets) :]
        found["names_hash"] = _hash([table.classnames, *(t.classnames for t in targets)])
        found["template_hash"] = _hash([source.template, *(p.template for p in tested)])
    return found


def check_template(template: str, table: Table) -> str:
    """The text around a class name; ``default`` is the data set's own."""
    if template == "default":
        return table.template
    if "{}" not in template:
        raise UsageError(f"data.template: {template!r} has no {{}} for the class name")
    return template


_decoded: OrderedDict[str, dict[int, Tensor]] = OrderedDict()


def decode(table: Table, transform: Transform, rows: Sequence[int]) -> Tensor:
    """Rows of a table as one uint8 tensor (rows, 3, h, w), each decoded once a process.

    A table that is in memory is decoded whole, so that a broken image is found whichever is drawn.
    """
    key = f"{table.digest}:{transform.digest()}"
    known = _decoded.setdefault(key, {})
    for row in rows if table.paths else range(len(table.images)):
        if row not in known:
            array = _pixels(table.images[row], transform, table, row)
            known[row] = torch.from_numpy(array).permute(2, 0, 1).contiguous()
    _decoded.move_to_end(key)
    while len(_decoded) > 8:
        _decoded.popitem(last=False)
    height, width = transform.size
    empty = torch.empty(0, 3, height, width, dtype=torch.uint8)
    return torch.stack([known[row] for row in rows]) if len(rows) else empty


# What Pillow raises for files that are no images, end early, or decode to something enormous.
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


def _pixels(data: bytes, transform: Transform, table: Table, row: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return transform.pixels(image)
    except UNREADABLE as error:
        name = table.classnames[int(table.labels[row])]
        where = table.paths[row] if table.paths else f"row {row}"
        reason = " ".join(str(error).split())
        if isinstance(error, UnidentifiedImageError):
            reason = "not an image" if data else "no bytes"
        raise UsageError(
            f"data set {table.name!r}: {where} (class {name!r}) cannot be read: {reason};"
            " mend or remove it"
        ) from None


def _hash(value: Sequence[object] | str) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
