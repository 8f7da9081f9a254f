"""What is trained on and what is tested: the label spaces of each protocol."""

from dataclasses import dataclass

from harness.spec.spec import MULTI_TASK, DataSpec, Protocol
from methods.kit.core.errors import UsageError

SHIFTS = ("cross_dataset", "domain_generalization")  # test on data sets that were not trained on


@dataclass(frozen=True)
class LabelSpace:
    """Images of some classes, told apart among these classes' names or more."""

    name: str
    classes: tuple[int, ...]
    among: tuple[int, ...] = ()  # the classes whose names are in the choice; none: the same

    @property
    def choice(self) -> tuple[int, ...]:
        return self.among or self.classes


@dataclass(frozen=True)
class ClassSplit:
    """The classes a protocol trains on and the label spaces it tests in.

    ``extra`` spaces are tested too; they are no part of validation and calibration.
    """

    train: LabelSpace
    tests: tuple[LabelSpace, ...]
    extra: tuple[LabelSpace, ...] = ()


def split_classes(protocol: Protocol, classes: int, generalized: bool = False) -> ClassSplit:
    """The label spaces of a protocol on a data set of that many classes (sorted labels)."""
    everything = LabelSpace("test", tuple(range(classes)))
    if protocol != "base_to_novel":
        return ClassSplit(everything, (everything,))
    if classes < 2:
        raise UsageError("base_to_novel needs at least 2 classes")
    half = (classes + 1) // 2  # the first ceil(C / 2) labels are base
    base = LabelSpace("base", tuple(range(half)))
    novel = LabelSpace("novel", tuple(range(half, classes)))
    halves = (base, novel)
    wide = tuple(LabelSpace(f"{s.name}_all", s.classes, everything.classes) for s in halves)
    return ClassSplit(base, halves, wide if generalized else ())


def check_data_settings(protocol: Protocol, data: DataSpec) -> None:
    """Raises UsageError for data settings that the protocol cannot follow."""
    if protocol == "full" and data.shots:
        raise UsageError("data.shots: full trains on every image; leave it out, or use few_shot")
    if protocol != "full" and not data.shots:
        raise UsageError("data.shots: must be greater than 0, got 0")
    if protocol == MULTI_TASK and data.classnames:
        raise UsageError(f"data.classnames: names one data set's classes; {MULTI_TASK} has several")
    if data.generalized and protocol != "base_to_novel":
        raise UsageError("data.generalized: only base_to_novel has novel classes")
    if data.targets and protocol not in SHIFTS:
        raise UsageError(f"data.targets: only {' and '.join(SHIFTS)} have targets")
    if protocol in SHIFTS and not data.targets:
        raise UsageError(
            f"data.targets: name the data sets to test after training on {data.name},"
            " such as data.targets=shift4"
        )


def harmonic_mean(base: float, novel: float) -> float:
    """H = 2 b n / (b + n), 0 when both are 0."""
    return 2 * base * novel / (base + novel) if base + novel else 0.0
