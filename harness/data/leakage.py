"""Checks that a run initialized from another one was not trained on data that is held out here.

A run holds out its validation and test images, the data sets that it only tests and, in
base_to_novel, its novel classes. It inherits what its source was trained on. That is drawn again
from the source's record, by the same rule and seed, and compared by the bytes of the images, so
that copies of a data set under other names are found too; images in files are compared by file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.data import few_shot, registry
from harness.data.data_hashes import combined_hash, data_hash, subset_hash
from harness.data.dataset import Dataset
from harness.spec.protocols import split_classes
from harness.spec.spec import Spec
from methods.kit.core.errors import UsageError

UNKNOWN = "unknown"  # another data set that is not here, or is stored in another way
NOTHING = "nothing"

Image = tuple[str, bytes]


@dataclass(frozen=True)
class DataUse:
    """What a spec trains on and what it holds out: data sets, images, class names."""

    tables: tuple[Dataset, ...]  # trained on; several in multi_task
    targets: tuple[Dataset, ...]
    train: frozenset[Image]
    held: frozenset[Image]
    names: frozenset[str]
    novel: frozenset[str]
    data_hash: str
    subset_hash: str


def data_use(spec: Spec) -> DataUse:
    """Return what a spec trains on and holds out. Raises UsageError for data that is not there."""
    if spec.tasks:
        return _merge([data_use(part) for part in spec.task_specs()])
    table = registry.read_dataset(spec.data.name, spec.data.root)
    targets = tuple(registry.read_dataset(name, spec.data.root) for name in spec.data.targets)
    plan = split_classes(spec.protocol, len(table.classnames))
    drawn = few_shot.draw_subset(table, spec.data, spec.seed)
    mine = set(plan.train.classes)
    names = frozenset(table.classnames[c] for c in mine)
    tested = [_image(t, row) for t in (table, *targets) for row in t.rows("test").tolist()]
    return DataUse(
        tables=(table,),
        targets=targets,
        train=frozenset(_image(table, r) for r in drawn.train.tolist() if table.labels[r] in mine),
        held=frozenset([*tested, *(_image(table, row) for row in drawn.val.tolist())]),
        names=names,
        novel=frozenset(table.classnames[c] for space in plan.tests for c in space.classes) - names,
        data_hash=data_hash(table, targets),
        subset_hash=subset_hash(drawn),
    )


def _merge(each: Sequence[DataUse]) -> DataUse:
    """Merge the uses of data sets that are trained together."""
    return DataUse(
        tables=tuple(table for one in each for table in one.tables),
        targets=(),
        train=frozenset().union(*(one.train for one in each)),
        held=frozenset().union(*(one.held for one in each)),
        names=frozenset().union(*(one.names for one in each)),
        novel=frozenset(),
        data_hash=combined_hash([one.data_hash for one in each]),
        subset_hash=combined_hash([one.subset_hash for one in each]),
    )


def check_leakage(
    spec: Spec, source: Spec, tags: dict[str, str], key: str = "method.start"
) -> dict[str, str]:
    """Return tags on what the source run was trained on of the data held out here.

    ``tags`` are those of the source's record, ``key`` is the setting that names it. Raises
    UsageError if it was trained on any of it, or if that cannot be known of the same data set.
    Classes of the same name in another data set are counted and allowed.
    """
    run = tags["digest"]
    here = data_use(spec)
    there = _recorded_use(replace(source, data=replace(source.data, root=spec.data.root)), tags)
    if there is None:
        if source.data.name == spec.data.name:
            raise UsageError(
                f"{key}: data set {source.data.name!r} has changed since run {run} was trained"
                " on it, so what it has seen is not known; train it again"
            )
        return {"start_seen": UNKNOWN, "start_novel_names": UNKNOWN}
    images, classes = _overlap(here, there)
    if images:
        raise UsageError(
            f"{key}: run {run} ({_where(source)}) was trained on {images} images that"
            f" are validation or test images here; start from a run of {_where(spec)}"
        )
    if _digests(there.tables) & _digests(here.targets):
        raise UsageError(
            f"{key}: run {run} was trained on {source.data.name}, which is only tested here"
        )
    if classes:
        raise UsageError(
            f"{key}: run {run} ({source.protocol}) was trained on {classes} classes that"
            f" are novel here; start from a run of {spec.protocol}"
        )
    tables = (*here.tables, *here.targets)
    compared = all(_comparable(one, two) for one in there.tables for two in tables)
    return {
        "start_seen": NOTHING if compared else UNKNOWN,
        "start_novel_names": str(len(there.names & here.novel)),
    }


def check_stage(spec: Spec, stage: Spec, name: str) -> None:
    """Raise UsageError for a stage that would be trained on data held out of the run after it."""
    if (stage.protocol, stage.data, stage.seed) == (spec.protocol, spec.data, spec.seed):
        return
    images, classes = _overlap(data_use(spec), data_use(stage))
    if images or classes:
        what = f"{images} images" if images else f"{classes} classes"
        raise UsageError(
            f"stage {name!r} would be trained on {what} that are held out of {spec.data.name},"
            f" seed {spec.seed}; name another source"
        )


def _overlap(here: DataUse, there: DataUse) -> tuple[int, int]:
    """Count the held-out images, and novel classes of the same data set, seen by the other run."""
    images = (there.train - here.train) & here.held
    same = _digests(there.tables) & _digests(here.tables)
    return len(images), len(there.names & here.novel) if same else 0


def _recorded_use(source: Spec, tags: dict[str, str]) -> DataUse | None:
    """Return the data use of a recorded run; None if its data is gone or has changed."""
    try:
        use = data_use(source)
    except UsageError:
        return None
    recorded = tags.get("data_hash"), tags.get("subset_hash")
    return use if recorded == (use.data_hash, use.subset_hash) else None


def _image(table: Dataset, row: int) -> Image:
    """Identify an image by its bytes, or by its file where reading all would take long."""
    if table.paths:
        return f"{table.digest}/{table.paths[row]}", b""
    return "", bytes(table.images[row])


def _digests(tables: Sequence[Dataset]) -> set[str]:
    return {table.digest for table in tables}


def _comparable(one: Dataset, two: Dataset) -> bool:
    """Return whether equal images of both can be recognized."""
    return one.digest == two.digest or not (one.paths or two.paths)


def _where(spec: Spec) -> str:
    return f"{spec.data.name}, {spec.data.shots} shots, seed {spec.seed}"
