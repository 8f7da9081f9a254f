"""What an adapter attaches to which site: plain data that a bound adapter evaluates."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from methods.kit.core.clip import Key

Fn = Callable[..., Any]


@dataclass(frozen=True)
class Ref:
    """A reference to an owned or derived tensor; indexing selects a part (``ring[0][layer]``)."""

    name: str
    index: tuple[int, ...] = ()

    def __getitem__(self, i: int) -> "Ref":
        return Ref(self.name, (*self.index, i))


@dataclass(frozen=True)
class Call:
    """A pure function and the tensors it takes."""

    fn: Fn
    refs: tuple[Ref, ...]
    sequence: bool = False  # takes (n, length, width) instead of rows
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class Penalty(Call):
    """A term of the loss; ``exclusive`` names the parameters that it alone trains."""

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
    """A low-rank path at a linear map: y += scale * up(down(x))."""

    down: Ref  # (rank, in)
    up: Ref  # (out, rank)
    scale: float
    dropout: float
    rows: tuple[int, int] | None


@dataclass
class Attached:
    """Everything attached to one site."""

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
    """A tensor drawn in each training pass; otherwise ``eval_value``.

    Where an entry of the draw is zero, the parameters named there are inactive in this step.
    """

    name: str
    eval_value: Tensor
    fn: Callable[[float, torch.Generator], Tensor]
    parameters: tuple[tuple[str, ...], ...] = ()


@dataclass
class Wiring:
    """Everything that an adapter attaches, in order."""

    sites: dict[Key, Attached] = field(default_factory=dict)
    draws: dict[str, Draw] = field(default_factory=dict)
    derived: list[Derived] = field(default_factory=list)
    score: Call | None = None
    penalties: list[Penalty] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    modules: dict[str, nn.Module] = field(default_factory=dict)

    @property
    def foldable(self) -> bool:
        return self.score is None and all(site.foldable for site in self.sites.values())

    @property
    def needs_teacher(self) -> bool:
        """Whether a penalty uses the outputs of the frozen model."""
        return any(penalty.teacher for penalty in self.penalties)

    @property
    def needs_second_pass(self) -> bool:
        """Whether a penalty uses a second pass over the batch."""
        return any(penalty.second_pass for penalty in self.penalties)

    def splits(self, key: Key) -> bool:
        """Whether a site may be computed for some rows or outputs only."""
        site = self.sites.get(key)
        return site is None or site.foldable

    def rowwise(self, key: Key) -> bool:
        """Whether all functions of a site treat rows independently."""
        site = self.sites.get(key)
        return site is None or not any(c.sequence for c in (*site.before, *site.after))

    def sees_sequences(self, tower: str) -> bool:
        """Whether any function of a tower takes whole sequences."""
        return not all(self.rowwise(key) for key in self.sites if key[0] == tower)

    def draws_in(self, tower: str) -> bool:
        """Whether a tower has dropout."""
        return any(
            add.dropout for key, site in self.sites.items() if key[0] == tower for add in site.adds
        )
