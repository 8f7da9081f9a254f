"""What a run that another one starts from has seen, and whether the other may know it.

Held out of a run are its validation and test images, the data sets that it only tests and, where
they are to be new, its novel classes. A run that starts from another one inherits what that one was
trained on, so none of it may be held out here. What was trained on is drawn again from the record,
by the same rule and seed, and compared by the bytes of the images, so that copies of a data set
under other names are found too; of sets that lie on disk image by image, by their files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.data import data_hashes, few_shot, registry
from harness.data.dataset import Dataset
from harness.spec import protocols
from harness.spec.spec import Spec
from methods.kit.core.errors import UsageError

UNKNOWN = "unknown"  # another data set that is not here to look at, or lies otherwise on disk
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
    """From the data sets and the spec alone. Raises UsageError for data that is not there."""
    if spec.tasks:
        return _together([data_use(part) for part in spec.task_specs()])
    table = registry.read_dataset(spec.data.name, spec.data.root)
    targets = tuple(registry.read_dataset(name, spec.data.root) for name in spec.data.targets)
    plan = protocols.split_classes(spec.protocol, len(table.classnames))
    drawn = few_shot.draw_subset(table, spec.data, spec.seed)
    mine = set(plan.train.classes)
    train = [row for row in drawn.train.tolist() if int(table.labels[row]) in mine]
    held = [(table, row) for row in (*drawn.val.tolist(), *table.rows("test").tolist())]
    held += [(target, row) for target in targets for row in target.rows("test").tolist()]
    names = frozenset(table.classnames[c] for c in mine)
    return DataUse(
        (table,),
        targets,
        frozenset(_image(table, row) for row in train),
        frozenset(_image(t, row) for t, row in held),
        names,
        frozenset(table.classnames[c] for space in plan.tests for c in space.classes) - names,
        data_hashes.data_hash(table, targets),
        data_hashes.subset_hash(drawn),
    )


def _together(each: Sequence[DataUse]) -> DataUse:
    """What a run sees that trains on several data sets at once."""
    return DataUse(
        tuple(table for one in each for table in one.tables),
        (),
        frozenset().union(*(one.train for one in each)),
        frozenset().union(*(one.held for one in each)),
        frozenset().union(*(one.names for one in each)),
        frozenset(),
        data_hashes.combined_hash([one.data_hash for one in each]),
        data_hashes.combined_hash([one.subset_hash for one in each]),
    )


def check_leakage(
    spec: Spec, source: Spec, tags: dict[str, str], key: str = "method.start"
) -> dict[str, str]:
    """Tags about what the source has seen of what is held out here.

    ``tags`` are those of the source's record, ``key`` is the setting that names it. Raises
    UsageError where it has seen any of it, and where that cannot be known of the same data set.
    Classes of the same name in another data set are counted and allowed.
    """
    run = tags["digest"]
    here = data_use(spec)
    there = _again(replace(source, data=replace(source.data, root=spec.data.root)), tags)
    if there is None:
        if source.data.name == spec.data.name:
            raise UsageError(
                f"{key}: data set {source.data.name!r} is not what run {run} was trained"
                " on any more, so what it has seen is not known; train it again"
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
    mine = (*here.tables, *here.targets)
    looked = all(_comparable(one, two) for one in there.tables for two in mine)
    return {
        "start_seen": NOTHING if looked else UNKNOWN,
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
    """How many held-out images, and novel classes of the same data set, the other run trains on."""
    images = (there.train - here.train) & here.held
    same = _digests(there.tables) & _digests(here.tables)
    return len(images), len(there.names & here.novel) if same else 0


def _again(source: Spec, tags: dict[str, str]) -> DataUse | None:
    """What a recorded run has seen; None when its data is gone or draws something else now."""
    try:
        found = data_use(source)
    except UsageError:
        return None
    recorded = tags.get("data_hash"), tags.get("subset_hash")
    return found if recorded == (found.data_hash, found.subset_hash) else None


def _image(table: Dataset, row: int) -> Image:
    """An image by its bytes, or by its file where reading all of them would take long."""
    if table.paths:
        return f"{table.digest}/{table.paths[row]}", b""
    return "", bytes(table.images[row])


def _digests(tables: Sequence[Dataset]) -> set[str]:
    return {table.digest for table in tables}


def _comparable(one: Dataset, two: Dataset) -> bool:
    """Whether images of both can be told to be the same."""
    return one.digest == two.digest or not (one.paths or two.paths)


def _where(spec: Spec) -> str:
    return f"{spec.data.name}, {spec.data.shots} shots, seed {spec.seed}"
