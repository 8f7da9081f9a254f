"""`Method`: hyper-parameters as fields, and `attach`, which says what trains and where it acts."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from methods.kit.contract.adapter import Adapter
from methods.kit.contract.source_weights import SourceWeights
from methods.kit.core.clip import Clip

Fidelity = Literal["code", "paper", "reading"]


@dataclass(frozen=True)
class Task:
    """The classification task: class names, their template, and the tokens of the prompts.

    ``tokens`` is (classes, length), padded with zeros after the end token. ``earlier`` holds the
    `Adapter.state` of each of the method's stages, and ``start`` the weights of the run that the
    method's own ``start`` names; both are empty where only shapes matter. ``tasks`` names the data
    sets of a multi-task training; the class names are then those of all data sets, in this order.
    """

    classnames: tuple[str, ...]
    template: str
    tokens: Tensor = field(repr=False, compare=False)
    earlier: Mapping[str, Mapping[str, Tensor]] = field(
        default_factory=dict, repr=False, compare=False
    )
    start: SourceWeights | None = field(default=None, repr=False, compare=False)
    tasks: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        return len(self.classnames)

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each data set that is trained on."""
        return self.tasks or ("task",)


class Method(ABC):
    """A way to adapt CLIP. Subclasses are frozen dataclasses; fields are the hyper-parameters.

    - ``paper``: author and year.
    - ``fidelity``: what it was written from: the authors' ``code``, their ``paper``, or a
      ``reading`` of a paper that leaves parts open.
    - ``recipe``: the paper's training settings for CLIP ViT-B/16, as ``{"train.lr": 2e-4}``;
      presets and users may override them.
    - ``identity``: whether the adapted model equals the frozen one before the first step.

    A method that can be initialized from another run has a field ``start``: empty, or the id of
    that run. The harness finds the run, checks that it has seen no held-out data, and passes its
    weights as ``task.start``. A method that merges several runs of itself has a field ``sources``;
    ``runs`` are the entries that name runs, ``shape`` the fields in which they must agree, and
    their states come in ``task.earlier``.
    """

    paper: ClassVar[str] = ""
    fidelity: ClassVar[Fidelity] = "paper"
    recipe: ClassVar[Mapping[str, object]] = {}
    shape: ClassVar[tuple[str, ...]] = ()

    @property
    def identity(self) -> bool:
        return True

    def stages(self) -> Mapping[str, "Stage"]:
        """Return the prerequisite trainings; ``attach`` finds their states in ``task.earlier``."""
        return {}

    @property
    def start(self) -> str:
        return ""

    @property
    def runs(self) -> tuple[str, ...]:
        return ()

    @abstractmethod
    def attach(self, clip: Clip, task: Task) -> Adapter:
        """Return the adapter. Initial values are drawn from torch's global generator."""


@dataclass(frozen=True)
class Stage:
    """A prerequisite training: its method, and the settings in which its run differs.

    ``settings`` are full keys, as ``{"train.epochs": 5, "data.name": "flags"}``. Unless they say
    otherwise, it trains on the same data. It is stored and reused by every run that needs it.
    """

    method: Method
    settings: Mapping[str, object] = field(default_factory=dict)
