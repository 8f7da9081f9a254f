"""Data sets decoded once, cut into what is trained on, what selects, and what is tested.

Test images lie in a vault that only `evaluate` opens, after selection is closed; the vault counts
how often it was read.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from harness.data import class_names, few_shot, pixels, registry, subset_files, templates
from harness.data.dataset import Dataset
from harness.data.pixels import Pixels
from harness.data.transform import Transform
from harness.spec import protocols
from harness.spec.spec import Spec
from methods.kit.core.errors import UsageError

TAKEN = ("mean", "val", "test", "base", "novel", "hmean", "targets")  # acc/... of a run
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
            raise RuntimeError("the test split was asked for before selection was closed")
        self.reads += 1
        return self.parts


@dataclass(frozen=True)
class Split:
    """What one run sees of its data sets; ``trains`` are those that are trained together."""

    trains: tuple[Images, ...]
    val: tuple[Images, ...]  # one a label space that is tested; empty without validation images
    vault: HeldOutSplit
    hashes: dict[str, str]

    @property
    def train(self) -> Images:
        """The images that are trained on, of a run with one data set."""
        (found,) = self.trains
        return found

    @property
    def templates(self) -> tuple[str, ...]:
        """The texts around the class names that are trained on; several are an ensemble."""
        return self.trains[0].templates

    @property
    def template(self) -> str:
        """The text that methods with prompts of their own begin with."""
        return self.templates[0]


def load_split(spec: Spec, transform: Transform) -> Split:
    """The split of a spec. Raises UsageError for unreadable images and classes too small."""
    if spec.tasks:
        return _together(spec, [load_split(part, transform) for part in spec.task_specs()])
    source = _open(spec, transform)
    table, plan, drawn = source.table, source.plan, source.drawn
    look = partial(_images, table, transform, texts=source.templates)
    test = table.rows("test")
    parts = [look(space, test) for space in plan.tests]
    parts += [look(space, test, main=False) for space in plan.extra]
    for target in source.targets:
        space = protocols.LabelSpace(target.name, tuple(range(len(target.classnames))))
        texts = templates.resolve_templates(spec.data.template, target)
        rows = target.rows("test")
        parts.append(_images(target, transform, space, rows, texts=texts, main=False))
    empty = [p.name for p in parts if not len(p)]
    if empty:
        raise UsageError(f"data set {table.name!r}: no test images of the {empty[0]} classes")
    return Split(
        trains=(look(plan.train, drawn.train),),
        val=tuple(look(space, drawn.val) for space in plan.tests) if len(drawn.val) else (),
        vault=HeldOutSplit(tuple(parts)),
        hashes=_hashes(source, parts) | {"transform_hash": transform.digest()},
    )


def _together(spec: Spec, splits: Sequence[Split]) -> Split:
    """Splits of single data sets as one, every part under the name of its data set."""
    both = list(zip(task_names(spec), splits, strict=True))
    return Split(
        trains=tuple(replace(s.train, name=name) for name, s in both),
        val=tuple(replace(part, name=name) for name, s in both for part in s.val),
        vault=HeldOutSplit(
            tuple(replace(part, name=name) for name, s in both for part in s.vault.parts)
        ),
        hashes=combined_hashes([s.hashes for s in splits]),
    )


def task_names(spec: Spec) -> tuple[str, ...]:
    """What data sets that are trained together are called. Raises UsageError for a name that
    stands twice or that means something else among the scores."""
    names = [registry.read_dataset(name, spec.data.root).name for name in spec.tasks]
    for name in names:
        if names.count(name) > 1 or name in TAKEN:
            why = "two of the sets are" if names.count(name) > 1 else "no set may be"
            raise UsageError(f"data.name: {why} called {name!r}; rename its folder or file")
    return tuple(names)


def combined_hashes(each: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What identifies the data of a run with several data sets."""
    keys = ("data_hash", "subset_hash", "names_hash", "template_hash")
    skipped = [hashes["skipped"] for hashes in each if "skipped" in hashes]
    return {
        **{key: combined_hash([hashes[key] for hashes in each]) for key in keys},
        "transform_hash": each[0]["transform_hash"],
        **({"skipped": "; ".join(skipped)} if skipped else {}),
    }


def combined_hash(hashes: Sequence[str]) -> str:
    """Hashes of several data sets as one."""
    return _hash(list(hashes))


def subset_hash(drawn: few_shot.FewShotSubset) -> str:
    """The identity of a few-shot subset, within its data set."""
    return _hash([drawn.train.tolist(), drawn.val.tolist()])


def data_hash(table: Dataset, targets: Sequence[Dataset]) -> str:
    """The identity of the data sets of a run; targets count where there are any."""
    return _hash([table.digest, *(t.digest for t in targets)]) if targets else table.digest


def check_data(spec: Spec) -> int:
    """All that can be wrong with the data of a spec before an image is decoded.

    Returns the number of classes that are trained on.
    """
    if spec.tasks:
        task_names(spec)
        return sum(check_data(part) for part in spec.task_specs())
    return len(_open(spec).plan.train.classes)


@dataclass(frozen=True)
class _Source:
    """The tables of a spec and what is taken of them; no image is decoded."""

    table: Dataset
    templates: tuple[str, ...]
    plan: protocols.ClassSplit
    drawn: few_shot.FewShotSubset
    targets: tuple[Dataset, ...]
    skipped: tuple[str, ...] = ()  # images that cannot be read and are left out


def _open(spec: Spec, transform: Transform | None = None) -> _Source:
    """With a ``transform`` images may be looked at, to leave out those that cannot be read."""
    tables = [registry.read_dataset(spec.data.name, spec.data.root)]
    if spec.data.content and tables[0].digest != spec.data.content:
        raise UsageError(
            f"data.content: {spec.data.name} was {spec.data.content} and is {tables[0].digest} now;"
            " leave data.content out to use it as it is"
        )
    tables[0] = class_names.rename_classes(tables[0], spec.data.classnames)
    tables += [registry.read_dataset(name, spec.data.root) for name in spec.data.targets]
    skipped: list[str] = []
    if spec.data.skip_corrupt and transform is not None:
        for i, each in enumerate(tables):
            bad = pixels.find_unreadable(each, transform)
            skipped += [each.where(row) for row in bad]
            tables[i] = each.without(bad) if bad else each
    table, *targets = tables
    texts = templates.resolve_templates(spec.data.template, table)
    plan = protocols.split_classes(spec.protocol, len(table.classnames), spec.data.generalized)
    drawn = few_shot.draw_subset(table, spec.data, spec.seed)
    if spec.data.shots and not skipped:
        subset_files.verify_subset(table, spec.data, spec.seed, drawn)
    names = ["test", *(target.name for target in targets)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice and targets:
        raise UsageError(f"data.targets: two of the test sets are called {twice!r}")
    return _Source(table, texts, plan, drawn, tuple(targets), tuple(skipped))


def _images(
    table: Dataset,
    transform: Transform,
    space: protocols.LabelSpace,
    rows: np.ndarray,
    texts: tuple[str, ...],
    main: bool = True,
) -> Images:
    """The rows that belong to a label space, decoded."""
    place = {c: i for i, c in enumerate(space.choice)}
    wanted = set(space.classes)
    kept = [r for r in rows.tolist() if int(table.labels[r]) in wanted]
    labels = torch.tensor([place[int(table.labels[r])] for r in kept], dtype=torch.long)
    names = tuple(table.classnames[c] for c in space.choice)
    key = f"{table.digest}:{transform.digest()}:{_hash(kept)}"
    decoded = pixels.decode_rows(table, transform, kept)
    return Images(space.name, names, decoded, labels, tuple(kept), key, texts, main)


def _hashes(source: _Source, parts: Sequence[Images]) -> dict[str, str]:
    """What identifies the data of a run; targets count where there are any."""
    table, targets = source.table, source.targets
    found = {
        "data_hash": data_hash(table, targets),
        "subset_hash": subset_hash(source.drawn),
        "names_hash": _hash(table.classnames),
        "template_hash": _hash(_plain(source.templates)),
    }
    if targets:
        tested = parts[-len(targets) :]
        found["names_hash"] = _hash([table.classnames, *(t.classnames for t in targets)])
        found["template_hash"] = _hash(
            [_plain(source.templates), *(_plain(p.templates) for p in tested)]
        )
    if source.skipped:
        found["data_hash"] = _hash([found["data_hash"], sorted(source.skipped)])
        found["skipped"] = _listed(source.skipped)
    return found


def _plain(texts: tuple[str, ...]) -> str | tuple[str, ...]:
    return texts[0] if len(texts) == 1 else texts


def _listed(skipped: Sequence[str]) -> str:
    """How many images were left out, and the first of them."""
    return f"{len(skipped)}: {', '.join(skipped[:SHOWN])}" + (
        ", ..." if len(skipped) > SHOWN else ""
    )


def _hash(value: Sequence[object] | str) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
