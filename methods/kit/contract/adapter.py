"""The contract of a method: a frozen `Method` tells a final `Adapter` what hangs where.

The backbone is never modified. A method owns tensors under names and hangs pure functions of them
on sites of the towers; the tower asks at each site what hangs there. Because functions see their
tensors as arguments (a `Ref` stands for a tensor that exists only while a step runs), the same
method runs once, or K times side by side with a leading trial axis, without knowing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from methods.kit.binding.bound import Bound
from methods.kit.binding.randomness import Noise, generator
from methods.kit.binding.wiring import (
    Add,
    Attached,
    Call,
    Derived,
    Draw,
    Fn,
    Penalty,
    Ref,
    Report,
    Wiring,
)
from methods.kit.contract.source_weights import Start
from methods.kit.core.clip import Clip, Site

PARTS = ("image", "text", "shared", "head")
Told = Literal["task", "affinity"]
TASK = "shared.task"  # the one kept tensor that is not saved: it says what is being looked at
Fidelity = Literal["code", "paper", "reading"]


@dataclass(frozen=True)
class Task:
    """What is to be told apart: class names, the template around them, and the prompts' tokens.

    ``tokens`` is (classes, length), padded with zeros behind the end token. ``earlier`` holds what
    each of the method's stages trained (``Adapter.state``); it is empty where only shapes matter.
    ``start`` is what the run learnt that the method's own ``start`` names; None where only shapes
    matter. ``tasks`` names the data sets that are trained together, if there are several; the class
    names are then those of all of them, one set behind the other.
    """

    classnames: tuple[str, ...]
    template: str
    tokens: Tensor = field(repr=False, compare=False)
    earlier: Mapping[str, Mapping[str, Tensor]] = field(
        default_factory=dict, repr=False, compare=False
    )
    start: Start | None = field(default=None, repr=False, compare=False)
    tasks: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        return len(self.classnames)

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each data set that is trained on."""
        return self.tasks or ("task",)


@dataclass(frozen=True)
class Teacher:
    """What the frozen model says of the same images and prompts, without gradients."""

    image: Tensor  # (n, dim)
    text: Tensor  # (classes, dim)
    logits: Tensor  # (n, classes)


@dataclass(frozen=True)
class Step:
    """What a penalty may look at: one training step, features normalised.

    ``teacher`` and ``again`` are there when a penalty of the adapter asks for them.
    """

    labels: Tensor  # (n,)
    image: Tensor  # (n, dim)
    text: Tensor  # (classes, dim)
    logits: Tensor  # (n, classes)
    progress: float
    teacher: Teacher | None = None
    again: Tensor | None = None  # (n, classes) logits of a second pass, with other draws

    # Of several trials each tensor may have one more axis in front: penalties do not see it.

    def parts(self) -> list[tuple[Tensor, bool]]:
        """Its tensors in a fixed order, each with whether trials lead it."""
        return [(t, t.dim() > (1 if t is self.labels else 2)) for t in self._tensors()]

    def like(self, tensors: Sequence[Tensor]) -> "Step":
        """The same step with other tensors, in the order of ``parts``."""
        labels, image, text, logits, *rest = tensors
        again = rest.pop() if self.again is not None else None
        teacher = Teacher(*rest) if rest else None
        return Step(labels, image, text, logits, self.progress, teacher, again)

    def of(self, trials: slice) -> "Step":
        """The step of some of the trials."""
        return self.like([t[trials] if lifted else t for t, lifted in self.parts()])

    def _tensors(self) -> list[Tensor]:
        taught = [] if self.teacher is None else [*vars(self.teacher).values()]
        again = [] if self.again is None else [self.again]
        return [self.labels, self.image, self.text, self.logits, *taught, *again]


class Method(ABC):
    """A way to adapt CLIP. Subclasses are frozen dataclasses: fields are the hyper-parameters.

    ``recipe`` holds the training settings of the method's own paper for CLIP ViT-B/16, as
    ``{"train.lr": 2e-4}``; a preset or the user may say otherwise. ``identity`` says whether the
    adapted model equals the frozen one before the first step. ``fidelity`` says what it was written
    from: the authors' ``code``, their ``paper``, or a ``reading`` of one that leaves parts open.
    A method that can begin where another run ended has a field ``start``, empty or the id of that
    run; the harness finds the run, checks that it saw nothing it should not, and hands over what it
    learnt as ``task.start``. A method that can be made of several runs of itself has a field
    ``sources``, of which ``runs`` are those words that name runs, and ``shape`` the fields in which
    they must agree; their states come in ``task.earlier``.
    """

    paper: ClassVar[str] = ""
    fidelity: ClassVar[Fidelity] = "paper"
    recipe: ClassVar[Mapping[str, object]] = {}
    shape: ClassVar[tuple[str, ...]] = ()

    @property
    def identity(self) -> bool:
        return True

    def stages(self) -> Mapping[str, "Stage"]:
        """What must have been trained before; ``attach`` finds its states in ``task.earlier``."""
        return {}

    @property
    def start(self) -> str:
        return ""

    @property
    def runs(self) -> tuple[str, ...]:
        return ()

    @abstractmethod
    def attach(self, clip: Clip, task: Task) -> "Adapter":
        """Say what trains and where it acts. Draws initial values from torch's generator."""


@dataclass(frozen=True)
class Stage:
    """A training that comes before another: what it trains, and what else differs in its run.

    ``settings`` are full keys, as ``{"train.epochs": 5, "data.name": "flags"}``. It is trained on
    the same data unless they say otherwise, kept, and done once: also for other runs that need it.
    """

    method: Method
    settings: Mapping[str, object] = field(default_factory=dict)


@final
class Adapter(nn.Module):
    """Exactly what a method trains, keeps and hangs. Methods use the verbs; the harness the rest.

    Names start with the part of the model they belong to (``image``, ``text``, ``shared``) or with
    ``head`` for what depends on the classes of the task.
    """

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.clip = clip
        self.rig = Wiring()
        self._each_step: list[tuple[Ref, Fn]] = []
        self._rates: dict[str, float] = {}
        self._values: dict[str, Tensor] = {}

    # --- the verbs ---------------------------------------------------------------------------

    def own(self, name: str, part: nn.Module | Tensor, rate: float = 1.0) -> Ref:
        """Train this module or parameter at ``rate`` times the learning rate.

        A tensor that is no Parameter is kept and saved but not trained. A module's Ref arrives in
        functions as a callable.
        """
        if name.split(".")[0] not in PARTS or name in self._rates:
            raise ValueError(f"own({name!r}): names are unique and start with one of {PARTS}")
        inner = name.replace(".", "/")  # torch allows no dots in names
        if isinstance(part, nn.Module):
            self.add_module(inner, part)
            self.rig.modules[name] = part
            for key, value in (*part.named_parameters(), *part.named_buffers()):
                self._values[f"{name}.{key}"] = value
        elif isinstance(part, nn.Parameter):
            self.register_parameter(inner, part)
            self._values[name] = part
        else:
            self.register_buffer(inner, part)
            self._values[name] = part
        self._rates[name] = rate
        return Ref(name)

    def derive(self, name: str, fn: Fn, *refs: Ref) -> Ref:
        """A tensor, or tuple of tensors, computed once a step from owned or derived ones."""
        self.rig.derived.append(Derived(name, fn, refs))
        return Ref(name)

    def add(self, site: Site, down: Ref, up: Ref, scale: float = 1.0, dropout: float = 0.0) -> None:
        """y += scale * up(down(x)) beside the linear map at a site; folds into its weight.

        ``down`` is (rank, in), ``up`` (out, rank). ``dropout`` acts on x on this path alone; paths
        of one site with the same rate share a mask.
        """
        self._at(site).adds.append(Add(down, up, scale, dropout, site.rows))

    def reweight(self, site: Site, fn: Fn, *refs: Ref, part: str = "weight") -> None:
        """The model reads fn(W, ...) instead of the frozen weight (or bias) at a site."""
        if part not in ("weight", "bias"):
            raise ValueError(f"reweight: part is 'weight' or 'bias', not {part!r}")
        getattr(self._at(site), part).append(Call(fn, refs, rows=site.rows))

    def before(self, site: Site, fn: Fn, *refs: Ref, sequence: bool = False) -> None:
        """The input x of a site becomes fn(x, ...): row by row, or (n, length, width)."""
        self._at(site).before.append(Call(fn, refs, sequence))

    def after(self, site: Site, fn: Fn, *refs: Ref, sequence: bool = False) -> None:
        """The output y of a site becomes fn(x, y, ...): row by row, or (n, length, width)."""
        self._at(site).after.append(Call(fn, refs, sequence))

    def score(self, fn: Fn, *refs: Ref) -> None:
        """logits = fn(image, text, scale, ...) instead of scale * image @ text.T.

        ``image`` (n, dim) and ``text`` (classes, dim) are normalised. A score that uses a ``head``
        applies to the classes it was trained on; any other label space is scored by its text.
        """
        if self.rig.score is not None:
            raise ValueError("score: an adapter has one score")
        self.rig.score = Call(fn, refs)

    def penalise(
        self,
        fn: Fn,
        *refs: Ref,
        teacher: bool = False,
        again: bool = False,
        alone: Sequence[str] = (),
    ) -> None:
        """loss += fn(step, ...), where ``step`` is a :class:`Step`.

        With ``teacher`` the step holds what the frozen model says; with ``again`` what the adapted
        one says of the same batch when all that is random is drawn anew. ``alone`` names owned
        parameters that are trained by this term and nothing else, while this term trains nothing
        else: the same gradients as two forward passes with one part detached in each, for one
        forward pass and a second backward pass.
        """
        unknown = [name for name in alone if name not in self.trained()]
        if unknown:
            raise ValueError(f"penalise: {unknown[0]!r} does not train")
        self.rig.penalties.append(
            Penalty(fn, refs, teacher=teacher, again=again, alone=tuple(alone))
        )

    def report(
        self,
        table: str,
        fn: Fn,
        *refs: Ref,
        row: str,
        columns: Sequence[str],
        site: Site | None = None,
    ) -> None:
        """After training, fn(...) gives one row of a table of numbers, kept with the result.

        With a ``site``, fn(x, y, ...) sees what goes in and out there, gives (rows, columns), and
        is averaged over the training images as they are; it costs nothing while training.
        """
        key = None if site is None else site.key
        self.rig.reports.append(
            Report(fn, refs, table=table, row=row, columns=tuple(columns), key=key)
        )

    def each_step(self, ref: Ref, fn: Callable[[float, torch.Generator], Tensor]) -> None:
        """The kept tensor ``ref`` becomes fn(progress, generator) before every step.

        Progress runs from 0 towards 1; fn is called with 1.0 once at the end.
        """
        self._each_step.append((ref, fn))

    def told(self, what: Told, start: Tensor) -> Ref:
        """A kept tensor that the training of several data sets keeps up to date; first ``start``.

        ``task`` is the number, in ``Task.names``, of the data set that a batch is of; 0 of any
        other. ``affinity`` (tasks, tasks) is the mean, over the steps so far, of the cosine between
        the gradients of each two data sets.
        """
        name = f"shared.{what}"
        return Ref(name) if name in self._rates else self.own(name, start)

    def draw(
        self,
        name: str,
        rest: Tensor,
        fn: Callable[[float, torch.Generator], Tensor],
        members: Sequence[Sequence[str]] = (),
    ) -> Ref:
        """A tensor like ``rest`` that is fn(progress, generator) in a training pass.

        Outside of training it is ``rest``: what is tested, folded and counted has no chance in it.
        It is not saved. fn draws on the CPU, from its generator alone. Where a drawn vector is
        zero, the owned parameters that ``members`` names there do not move: the optimiser leaves
        them out of this step, decay and momentum too.
        """
        self.rig.draws[name] = Draw(name, rest, fn, tuple(map(tuple, members)))
        return Ref(name)

    # --- what the harness uses ---------------------------------------------------------------

    def _at(self, site: Site) -> Attached:
        return self.rig.sites.setdefault(site.key, Attached())

    def values(self) -> dict[str, Tensor]:
        """Every owned tensor by name, trained and kept."""
        return self._values

    def saved(self) -> dict[str, Tensor]:
        """What a saved adapter holds."""
        return {n: v for n, v in self._values.items() if n != TASK}

    def trained(self) -> dict[str, nn.Parameter]:
        return {n: v for n, v in self._values.items() if isinstance(v, nn.Parameter)}

    def rate(self, name: str) -> float:
        """The learning-rate factor of an owned tensor."""
        while name not in self._rates:
            name = name.rpartition(".")[0]
        return self._rates[name]

    def groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Parameter groups for an optimiser: weights decay, vectors and scalars do not."""
        grouped: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, value in self.trained().items():
            grouped.setdefault((self.rate(name), value.dim() >= 2), []).append(value)
        return [
            {"params": params, "lr": lr * rate, "weight_decay": weight_decay if decays else 0.0}
            for (rate, decays), params in sorted(grouped.items(), key=lambda g: g[0])
        ]

    def touches(self, tower: str) -> bool:
        """Whether a tower's features can differ from the frozen ones."""
        return any(key[0] == tower for key in self.rig.sites)

    @property
    def needs_teacher(self) -> bool:
        """Whether a penalty looks at what the frozen model says."""
        return self.rig.needs_teacher

    @property
    def needs_again(self) -> bool:
        """Whether a penalty looks at a second pass over the batch."""
        return self.rig.needs_again

    @property
    def foldable(self) -> bool:
        """Whether the adapted model can be written as a plain model with other weights."""
        return self.rig.foldable

    def bind(
        self,
        values: Mapping[str, Tensor] | None = None,
        trials: int | None = None,
        noise: Noise | None = None,
        watch: bool = False,
    ) -> Bound:
        """Resolve everything for one step. With ``trials``, values carry a leading trial axis.

        With ``watch``, what reports want to see at sites is gathered on the way.
        """
        return Bound(self.rig, self._values if values is None else values, trials, noise, watch)

    @torch.no_grad()
    def advance(self, progress: float, seed: int, step: int) -> None:
        """Set the kept tensors that follow the progress of training."""
        for ref, fn in self._each_step:
            drawn = fn(progress, generator(seed, step, ref.name))
            self._values[ref.name].copy_(drawn)

    @torch.no_grad()
    def tell(self, what: Told, value: int | Tensor) -> None:
        """Keep a :meth:`told` tensor up to date, if the method has asked for it."""
        kept = self._values.get(f"shared.{what}")
        if kept is not None:
            kept.copy_(torch.as_tensor(value))

    def state(self) -> dict[str, Tensor]:
        """What is saved: every owned tensor, contiguous, on the CPU."""
        return {n: v.detach().cpu().contiguous().clone() for n, v in self.saved().items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put a saved state back. Raises ValueError when names or shapes differ."""
        mine = self.saved()
        if set(state) != set(mine):
            odd = sorted(set(state) ^ set(mine))
            raise ValueError(f"the adapter file does not fit this method: {odd[0]!r} differs")
        for name, value in mine.items():
            if value.shape != state[name].shape:
                raise ValueError(
                    f"the adapter file does not fit this method: {name!r} is"
                    f" {tuple(state[name].shape)}, expected {tuple(value.shape)}"
                )
            value.copy_(state[name])


def stack(adapters: Sequence[Adapter]) -> dict[str, Tensor]:
    """The values of adapters of one shape with a leading trial axis, for ``bind(trials=K)``."""
    first = adapters[0].values()
    stacked = {name: torch.stack([a.values()[name].detach() for a in adapters]) for name in first}
    for name, value in first.items():
        stacked[name].requires_grad_(isinstance(value, nn.Parameter))
    return stacked
