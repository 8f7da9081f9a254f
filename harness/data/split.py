"""The images of one run: what it trains on, what selects, and what is tested.

Test images lie in a held-out split that opens only after selection is closed and counts its reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from harness.data import class_names, data_hashes, few_shot, registry, subset_files, templates
from harness.data.dataset import Dataset
from harness.data.decoded_rows import decode_rows, find_unreadable
from harness.data.pixels import Pixels
from harness.data.transform import Transform
from harness.spec.protocols import ClassSplit, LabelSpace, split_classes
from harness.spec.spec import Spec
from methods.kit.core.errors import UsageError

RESERVED = ("mean", "val", "test", "base", "novel", "hmean", "targets")  # acc/... of a run


@dataclass(frozen=True)
class Images:
    """Images of some classes: uint8 pixels (n, 3, h, w), labels within ``classnames``, row ids."""

    name: str
    classnames: tuple[str, ...]
    pixels: Pixels = field(repr=False)
    labels: Tensor = field(repr=False)
    ids: tuple[int, ...] = field(repr=False)
    key: str = ""  # identifies the pixels: data set, transform and rows
    templates: tuple[str, ...] = ()
    main: bool = True  # False for what is tested beside the protocol's own parts

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class HeldOutSplit:
    """Test images that can be read only once selection is closed."""

    parts: tuple[Images, ...] = field(repr=False)
    closed: bool = False
    reads: int = 0

    def close_selection(self) -> None:
        self.closed = True

    def open(self) -> tuple[Images, ...]:
        if not self.closed:
            raise RuntimeError("the test split was read before selection was closed")
        self.reads += 1
        return self.parts


@dataclass(frozen=True)
class Split:
    """What one run sees of its data sets; ``trains`` are those that are trained together."""

    trains: tuple[Images, ...]
    val: tuple[Images, ...]  # one per label space that is tested; empty without validation images
    held_out: HeldOutSplit
    hashes: dict[str, str]

    @property
    def train(self) -> Images:
        """The training images of a run with one data set."""
        (found,) = self.trains
        return found

    @property
    def templates(self) -> tuple[str, ...]:
        """The texts around the class names; several are an ensemble."""
        return self.trains[0].templates

    @property
    def template(self) -> str:
        """The text from which methods initialize their own prompts."""
        return self.templates[0]


def load_split(spec: Spec, transform: Transform) -> Split:
    """Decode the split of a spec.

    Raises UsageError for unreadable images and classes that are too small.
    """
    if spec.tasks:
        return _merge_splits(spec, [load_split(part, transform) for part in spec.task_specs()])
    source = _read_source(spec, transform)
    table, plan, drawn = source.table, source.plan, source.drawn
    texts = [templates.resolve_templates(spec.data.template, t) for t in (table, *source.targets)]
    images_of = partial(_images, table, transform, texts[0])
    test = table.rows("test")
    parts = [images_of(space, test) for space in plan.tests]
    parts += [images_of(space, test, main=False) for space in plan.extra]
    for target, text in zip(source.targets, texts[1:], strict=True):
        space = LabelSpace(target.name, tuple(range(len(target.classnames))))
        parts.append(_images(target, transform, text, space, target.rows("test"), main=False))
    empty = [p.name for p in parts if not len(p)]
    if empty:
        raise UsageError(f"data set {table.name!r}: no test images of the {empty[0]} classes")
    hashes = data_hashes.split_hashes(table, source.targets, drawn, texts, source.skipped)
    return Split(
        trains=(images_of(plan.train, drawn.train),),
        val=tuple(images_of(space, drawn.val) for space in plan.tests) if len(drawn.val) else (),
        held_out=HeldOutSplit(tuple(parts)),
        hashes=hashes | {"transform_hash": transform.digest()},
    )


def _merge_splits(spec: Spec, splits: Sequence[Split]) -> Split:
    """Merge splits of single data sets, every part under the name of its data set."""
    both = list(zip(task_names(spec), splits, strict=True))
    tested = tuple(replace(part, name=name) for name, s in both for part in s.held_out.parts)
    return Split(
        trains=tuple(replace(s.train, name=name) for name, s in both),
        val=tuple(replace(part, name=name) for name, s in both for part in s.val),
        held_out=HeldOutSplit(tested),
        hashes=data_hashes.combined_hashes([s.hashes for s in splits]),
    )


def task_names(spec: Spec) -> tuple[str, ...]:
    """Return the names of data sets that are trained together.

    Raises UsageError for a name that is used twice or that is a score of its own.
    """
    names = [registry.read_dataset(name, spec.data.root).name for name in spec.tasks]
    for name in names:
        if names.count(name) > 1 or name in RESERVED:
            why = "two of the sets are" if names.count(name) > 1 else "no set may be"
            raise UsageError(f"data.name: {why} called {name!r}; rename its folder or file")
    return tuple(names)


def check_data(spec: Spec) -> int:
    """Check the data of a spec before an image is decoded; return the number of trained classes.

    Raises UsageError for whatever is wrong with it.
    """
    if spec.tasks:
        task_names(spec)
        return sum(check_data(part) for part in spec.task_specs())
    source = _read_source(spec)
    templates.resolve_templates(spec.data.template, source.table)
    return len(source.plan.train.classes)


@dataclass(frozen=True)
class _Source:
    """The data sets of a spec and the rows drawn from them; no image is decoded."""

    table: Dataset
    targets: tuple[Dataset, ...]
    plan: ClassSplit
    drawn: few_shot.FewShotSubset
    skipped: tuple[str, ...] = ()  # images that cannot be read and are left out


def _read_source(spec: Spec, transform: Transform | None = None) -> _Source:
    """Read data sets; with a ``transform``, images may be decoded to skip unreadable ones."""
    data = spec.data
    table = registry.read_dataset(data.name, data.root)
    if data.content and table.digest != data.content:
        raise UsageError(
            f"data.content: {data.name} was {data.content} and is {table.digest} now;"
            " leave data.content out to use it as it is"
        )
    tables = [class_names.rename_classes(table, data.classnames)]
    tables += [registry.read_dataset(name, data.root) for name in data.targets]
    skipped: list[str] = []
    if data.skip_corrupt and transform is not None:
        for i, each in enumerate(tables):
            bad = find_unreadable(each, transform)
            skipped += [each.where(row) for row in bad]
            tables[i] = each.without(bad) if bad else each
    table, *targets = tables
    plan = split_classes(spec.protocol, len(table.classnames), data.generalized)
    drawn = few_shot.draw_subset(table, data, spec.seed)
    if data.shots and not skipped:
        subset_files.verify_subset(table, data, spec.seed, drawn)
    names = ["test", *(target.name for target in targets)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UsageError(f"data.targets: two of the test sets are called {twice!r}")
    return _Source(table, tuple(targets), plan, drawn, tuple(skipped))


def _images(
    table: Dataset,
    transform: Transform,
    texts: tuple[str, ...],
    space: LabelSpace,
    rows: np.ndarray,
    main: bool = True,
) -> Images:
    """Decode the rows that belong to a label space."""
    place = {c: i for i, c in enumerate(space.choice)}
    classes = set(space.classes)
    chosen = [r for r in rows.tolist() if int(table.labels[r]) in classes]
    labels = torch.tensor([place[int(table.labels[r])] for r in chosen], dtype=torch.long)
    names = tuple(table.classnames[c] for c in space.choice)
    key = f"{table.digest}:{transform.digest()}:{data_hashes.hash_of(chosen)}"
    decoded = decode_rows(table, transform, chosen)
    return Images(space.name, names, decoded, labels, tuple(chosen), key, texts, main)
