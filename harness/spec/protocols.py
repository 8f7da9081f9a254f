"""What each protocol trains on, tests and reports."""

from dataclasses import dataclass

from harness.spec.quantities import VALIDATION
from harness.spec.spec import MULTI_TASK, DataSpec, Protocol
from methods.kit.core.errors import UsageError


@dataclass(frozen=True)
class Definition:
    """What is known of a protocol.

    ``tested`` are its accuracies on the test split and ``validated`` those on validation images, in
    the order of columns; the last of each is the headline, by which tables rank and sweeps select.
    """

    about: str
    tested: tuple[str, ...] = ("acc/test",)
    validated: tuple[str, ...] = ("acc/val",)

    @property
    def headline(self) -> str:
        return self.tested[-1]

    @property
    def validation(self) -> str:
        return self.validated[-1]


DEFINITIONS: dict[Protocol, Definition] = {
    "base_to_novel": Definition(
        "train on the first ceil(C/2) classes, test base and novel classes apart",
        ("acc/base", "acc/novel", "acc/hmean"),
        VALIDATION,
    ),
    "few_shot": Definition("train on a few images of every class, test among all classes"),
    "full": Definition("train on every training image of every class, test among all classes"),
    "cross_dataset": Definition(
        "train as few_shot, test other data sets among their own names too",
        ("acc/test", "acc/targets"),
    ),
    "domain_generalization": Definition(
        "the same, with targets that show the same classes otherwise",
        ("acc/test", "acc/targets"),
    ),
    MULTI_TASK: Definition(
        "train one adapter on several data sets at once, test each of them", ("acc/mean",)
    ),
}
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

    ``extra`` spaces are tested too, but take no part in validation and calibration.
    """

    train: LabelSpace
    tests: tuple[LabelSpace, ...]
    extra: tuple[LabelSpace, ...] = ()


def split_classes(protocol: Protocol, classes: int, generalized: bool = False) -> ClassSplit:
    """Return the label spaces of a protocol on a data set of that many classes (sorted labels)."""
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
    """Raise UsageError for data settings that the protocol does not allow."""
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
    """Return H = 2 b n / (b + n), 0 when both are 0."""
    return 2 * base * novel / (base + novel) if base + novel else 0.0
