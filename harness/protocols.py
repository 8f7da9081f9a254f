"""What is trained on and what is tested: the label spaces of each protocol."""

from dataclasses import dataclass

from harness.spec import Protocol
from methods.kit.errors import UsageError


@dataclass(frozen=True)
class LabelSpace:
    """A named set of classes; images of these classes are told apart among these names only."""

    name: str
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """The classes a protocol trains on and the label spaces it tests in."""

    train: LabelSpace
    tests: tuple[LabelSpace, ...]


def plan(protocol: Protocol, classes: int) -> Plan:
    """The label spaces of a protocol on a data set of that many classes (sorted labels)."""
    everything = LabelSpace("test", tuple(range(classes)))
    if protocol == "few_shot":
        return Plan(everything, (everything,))
    if classes < 2:
        raise UsageError("base_to_novel needs at least 2 classes")
    half = (classes + 1) // 2  # the first ceil(C / 2) labels are base
    base = LabelSpace("base", tuple(range(half)))
    novel = LabelSpace("novel", tuple(range(half, classes)))
    return Plan(base, (base, novel))


def harmonic_mean(base: float, novel: float) -> float:
    """H = 2 b n / (b + n), 0 when both are 0."""
    return 2 * base * novel / (base + novel) if base + novel else 0.0
