"""`Adapter`: what a method trains, and the functions that it attaches to sites of the towers.

The backbone is never modified. A method owns tensors under names and attaches pure functions of
them to sites; at each site, a tower applies what is attached there. A function gets its tensors as
arguments (a `Ref` stands for a tensor that exists only during a step), so the same method runs
once, or for K trials at a time with a leading trial axis.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, final

import torch
from torch import Tensor, nn

from methods.kit.binding.bound_adapter import BoundAdapter
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
from methods.kit.core.clip import Clip, Site

PARTS = ("image", "text", "shared", "head")
TrackedName = Literal["task", "affinity"]
TASK = "shared.task"  # not saved: it says which data set is being read, not what was learned


@final
class Adapter(nn.Module):
    """Everything that a method trains, keeps and attaches.

    Names of tensors start with the part of the model they belong to (``image``, ``text``,
    ``shared``), or with ``head`` for tensors that depend on the classes of the task.
    """

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.clip = clip
        self.wiring = Wiring()
        self._each_step: list[tuple[Ref, Fn]] = []
        self._lr_factors: dict[str, float] = {}
        self._values: dict[str, Tensor] = {}

    # --- verbs for methods -------------------------------------------------------------------

    def own(self, name: str, part: nn.Module | Tensor, lr_factor: float = 1.0) -> Ref:
        """Train a module or parameter, at ``lr_factor`` times the learning rate.

        A tensor that is not a Parameter is saved but not trained. Functions receive the Ref of a
        module as a callable.
        """
        if name.split(".")[0] not in PARTS or name in self._lr_factors:
            raise ValueError(f"own({name!r}): names are unique and start with one of {PARTS}")
        inner = name.replace(".", "/")  # torch allows no dots in names
        if isinstance(part, nn.Module):
            self.add_module(inner, part)
            self.wiring.modules[name] = part
            for key, value in (*part.named_parameters(), *part.named_buffers()):
                self._values[f"{name}.{key}"] = value
        else:
            if isinstance(part, nn.Parameter):
                self.register_parameter(inner, part)
            else:
                self.register_buffer(inner, part)
            self._values[name] = part
        self._lr_factors[name] = lr_factor
        return Ref(name)

    def derive(self, name: str, fn: Fn, *refs: Ref) -> Ref:
        """Compute a tensor, or a tuple of tensors, once a step from owned or derived ones."""
        self.wiring.derived.append(Derived(name, fn, refs))
        return Ref(name)

    def add(self, site: Site, down: Ref, up: Ref, scale: float = 1.0, dropout: float = 0.0) -> None:
        """Add scale * up(down(x)) to the linear map at a site; it folds into the weight.

        ``down`` is (rank, in), ``up`` (out, rank). ``dropout`` acts on the x of this path alone;
        paths of one site with the same dropout share a mask.
        """
        self._at(site).adds.append(Add(down, up, scale, dropout, site.rows))

    def reweight(self, site: Site, fn: Fn, *refs: Ref, part: str = "weight") -> None:
        """Replace the frozen weight (or bias) W at a site by fn(W, ...)."""
        if part not in ("weight", "bias"):
            raise ValueError(f"reweight: part is 'weight' or 'bias', not {part!r}")
        getattr(self._at(site), part).append(Call(fn, refs, rows=site.rows))

    def before(self, site: Site, fn: Fn, *refs: Ref, sequence: bool = False) -> None:
        """Replace the input x of a site by fn(x, ...), on rows or on (n, length, width)."""
        self._at(site).before.append(Call(fn, refs, sequence))

    def after(self, site: Site, fn: Fn, *refs: Ref, sequence: bool = False) -> None:
        """Replace the output y of a site by fn(x, y, ...), on rows or on (n, length, width)."""
        self._at(site).after.append(Call(fn, refs, sequence))

    def score(self, fn: Fn, *refs: Ref) -> None:
        """Compute logits as fn(image, text, scale, ...) instead of scale * image @ text.T.

        ``image`` (n, dim) and ``text`` (classes, dim) are normalized. A score that uses a ``head``
        applies to the classes it was trained on; other classes are scored by their texts.
        """
        if self.wiring.score is not None:
            raise ValueError("score: an adapter has one score")
        self.wiring.score = Call(fn, refs)

    def penalise(
        self,
        fn: Fn,
        *refs: Ref,
        teacher: bool = False,
        second_pass: bool = False,
        exclusive: Sequence[str] = (),
    ) -> None:
        """Add fn(step, ...) to the loss, where ``step`` is a `Step`.

        ``teacher``: the step holds the outputs of the frozen model. ``second_pass``: it holds the
        logits of a second pass over the batch, with new random draws. ``exclusive``: names of
        owned parameters that this term alone trains, while it trains nothing else. Their gradients
        equal those of two forward passes with one part detached in each, at the cost of one
        forward and two backward passes.
        """
        unknown = [name for name in exclusive if name not in self.trained()]
        if unknown:
            raise ValueError(f"penalise: {unknown[0]!r} does not train")
        self.wiring.penalties.append(
            Penalty(fn, refs, teacher=teacher, second_pass=second_pass, exclusive=tuple(exclusive))
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
        """Store fn(...) after training as one row of a table in the result.

        With a ``site``, fn(x, y, ...) gets its input and output, returns (rows, columns), and is
        averaged over the training images without augmentation. Reports cost nothing in training.
        """
        key = None if site is None else site.key
        self.wiring.reports.append(
            Report(fn, refs, table=table, row=row, columns=tuple(columns), key=key)
        )

    def each_step(self, ref: Ref, fn: Callable[[float, torch.Generator], Tensor]) -> None:
        """Set the owned buffer ``ref`` to fn(progress, generator) before every step.

        Progress runs from 0 towards 1; fn is called with 1.0 once at the end.
        """
        self._each_step.append((ref, fn))

    def tracked(self, what: TrackedName, start: Tensor) -> Ref:
        """Own a buffer that training on several data sets keeps up to date, from ``start`` on.

        ``task``: the index, in ``Task.names``, of the data set of the batch; 0 for any other.
        ``affinity`` (tasks, tasks): the mean over steps of the cosine between the gradients of
        each two data sets.
        """
        name = f"shared.{what}"
        return Ref(name) if name in self._lr_factors else self.own(name, start)

    def draw(
        self,
        name: str,
        eval_value: Tensor,
        fn: Callable[[float, torch.Generator], Tensor],
        parameters: Sequence[Sequence[str]] = (),
    ) -> Ref:
        """A tensor drawn as fn(progress, generator) in each training pass.

        Outside of training it is ``eval_value``, so tests, folding and counts are deterministic.
        It is not saved. fn draws on the CPU, from its generator alone. ``parameters`` names owned
        parameters for each entry of a drawn vector; where the entry is zero, they are inactive in
        this step: the optimizer skips them, with weight decay and momentum.
        """
        self.wiring.draws[name] = Draw(name, eval_value, fn, tuple(map(tuple, parameters)))
        return Ref(name)

    # --- for the harness ---------------------------------------------------------------------

    def _at(self, site: Site) -> Attached:
        return self.wiring.sites.setdefault(site.key, Attached())

    def values(self) -> dict[str, Tensor]:
        """Return every owned tensor by name, trained or not."""
        return self._values

    def saved(self) -> dict[str, Tensor]:
        """Return the tensors that a saved adapter holds."""
        return {n: v for n, v in self._values.items() if n != TASK}

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the parameters by name."""
        return {n: v for n, v in self._values.items() if isinstance(v, nn.Parameter)}

    def lr_factor(self, name: str) -> float:
        """Return the learning-rate factor of an owned tensor."""
        while name not in self._lr_factors:
            name = name.rpartition(".")[0]
        return self._lr_factors[name]

    @property
    def foldable(self) -> bool:
        """Whether the adapted model can be written as a plain model with other weights."""
        return self.wiring.foldable

    def bind(
        self,
        values: Mapping[str, Tensor] | None = None,
        trials: int | None = None,
        noise: Noise | None = None,
        collect_reports: bool = False,
    ) -> BoundAdapter:
        """Resolve all tensors for one step. With ``trials``, values have a leading trial axis.

        ``collect_reports``: gather what reports need at sites during the pass.
        """
        values = self._values if values is None else values
        return BoundAdapter(self.wiring, values, trials, noise, collect_reports)

    @torch.no_grad()
    def advance(self, progress: float, seed: int, step: int) -> None:
        """Update the buffers of ``each_step``."""
        for ref, fn in self._each_step:
            self._values[ref.name].copy_(fn(progress, generator(seed, step, ref.name)))

    @torch.no_grad()
    def set_tracked(self, what: TrackedName, value: int | Tensor) -> None:
        """Update a `tracked` buffer, if the method owns it."""
        buffer = self._values.get(f"shared.{what}")
        if buffer is not None:
            buffer.copy_(torch.as_tensor(value))

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the saved tensors, contiguous, on the CPU."""
        return {n: v.detach().cpu().contiguous().clone() for n, v in self.saved().items()}
