"""What hangs where: the plain description that an adapter writes and a bound step reads."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from methods.kit.core.clip import Key

Fn = Callable[..., Any]


@dataclass(frozen=True)
class Ref:
    """Stands for an owned or derived tensor; indexing picks a part of it (``ring[0][layer]``)."""

    name: str
    index: tuple[int, ...] = ()

    def __getitem__(self, i: int) -> "Ref":
        return Ref(self.name, (*self.index, i))


@dataclass(frozen=True)
class Call:
    """A pure function with the tensors it takes."""

    fn: Fn
    refs: tuple[Ref, ...]
    sequence: bool = False  # sees (n, length, width) instead of rows
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class Penalty(Call):
    """A term of the loss; ``exclusive`` names the parameters that train on it and nothing else."""

    teacher: bool = False
    second_pass: bool = False
    exclusive: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report(Call):
    """One row of a table: fn of tensors, or a mean over what passes a site."""

    table: str = ""
    row: str = ""
    columns: tuple[str, ...] = ()
    key: Key | None = None


@dataclass(frozen=True)
class Add:
    """A low-rank path beside a linear map: y += scale * up(down(x))."""

    down: Ref  # (rank, in)
    up: Ref  # (out, rank)
    scale: float
    dropout: float
    rows: tuple[int, int] | None


@dataclass
class Attached:
    """Everything that hangs on one site."""

    adds: list[Add] = field(default_factory=list)
    weight: list[Call] = field(default_factory=list)
    bias: list[Call] = field(default_factory=list)
    before: list[Call] = field(default_factory=list)
    after: list[Call] = field(default_factory=list)

    @property
    def foldable(self) -> bool:
        return not (self.before or self.after)


@dataclass(frozen=True)
class Derived:
    """A tensor, or tuple of tensors, computed once a step."""

    name: str
    fn: Fn
    refs: tuple[Ref, ...]


@dataclass(frozen=True)
class Draw:
    """A tensor that is drawn anew in each training pass, and ``eval_value`` at any other time.

    Where the draw is zero, the parameters that ``parameters`` names there do not move in this step.
    """

    name: str
    eval_value: Tensor
    fn: Callable[[float, torch.Generator], Tensor]
    parameters: tuple[tuple[str, ...], ...] = ()


@dataclass
class Wiring:
    """All that an adapter attached, in the order in which it was said."""

    sites: dict[Key, Attached] = field(default_factory=dict)
    draws: dict[str, Draw] = field(default_factory=dict)
    derived: list[Derived] = field(default_factory=list)
    score: Call | None = None
    penalties: list[Penalty] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    modules: dict[str, nn.Module] = field(default_factory=dict)

    @property
    def foldable(self) -> bool:
        return self.score is None and all(h.foldable for h in self.sites.values())

    @property
    def needs_teacher(self) -> bool:
        """Whether a penalty looks at what the frozen model says."""
        return any(penalty.teacher for penalty in self.penalties)

    @property
    def needs_second_pass(self) -> bool:
        """Whether a penalty looks at a second pass over the batch."""
        return any(penalty.second_pass for penalty in self.penalties)

    def splits(self, key: Key) -> bool:
        """Whether a site may be computed for some rows or outputs only."""
        attached = self.sites.get(key)
        return attached is None or attached.foldable

    def rowwise(self, key: Key) -> bool:
        """Whether a site's functions, if any, look at rows one by one."""
        attached = self.sites.get(key)
        return attached is None or not any(c.sequence for c in (*attached.before, *attached.after))

    def sees_sequences(self, tower: str) -> bool:
        """Whether any function of a tower looks at more than one row at a time."""
        return not all(self.rowwise(key) for key in self.sites if key[0] == tower)

    def draws_in(self, tower: str) -> bool:
        """Whether anything in a tower is random while it trains."""
        attached = (h for key, h in self.sites.items() if key[0] == tower)
        return any(a.dropout for h in attached for a in h.adds)
