"""CoTo (Zhuang et al., 2025, arXiv 2506.05713): adapters that are activated progressively.

A wrapper: ``host`` is the method whose parts are switched (``method.host=lora``). The host's
settings are written ``method.host.rank=4``; training settings start from the host's recipe. As the
README of the repository says (zwebzone/coto; it holds no code), each group is on with probability

    p(t) = min(last, first + (last - first) * t / (ramp * T))    before step t of T

and the whole draw is repeated until at least one group is on. A group that is off has no effect. A
group is what the host attaches to ``group`` neighboring blocks of one tower (its q, k and v
together). Nothing is rescaled. Outside of training, everything is on.

The parameters of a group that is off do not change in that step, and neither do their momentum and
decay; tensors that blocks share, or that hold all blocks in one, have a zero gradient there
instead. Departure: the end of the ramp is not rounded up to a whole step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from methods import find
from methods.kit import Adapter, Block, Clip, Method, Task, UsageError
from methods.kit.core.field_types import Fraction, PositiveInt
from methods.kit.core.field_values import check_part, read_value
from methods.kit.parts.block_switch import attach_switch, attached_blocks, parameters_of


@dataclass(frozen=True)
class CoTo(Method):
    paper = "Zhuang et al., 2025"
    fidelity = "paper"

    host: str = "lora"
    settings: tuple[str, ...] = ()  # of the host: "rank=4"
    first: Fraction = 0.1  # probability that a group is on, at the start
    last: Fraction = 1.0  # and from `ramp` on
    ramp: Fraction = 0.75
    group: PositiveInt = 1

    @property
    def identity(self) -> bool:
        return self.wrapped.identity

    @property
    def wrapped(self) -> Method:
        """The host with its settings. Raises UsageError."""
        kind = find(self.host)
        if kind is type(self):
            raise UsageError("method.host: coto cannot switch itself; name another method")
        words = [word.partition("=") for word in self.settings]
        method: Method = check_part("method.host", kind, {k: read_value(v) for k, _, v in words})
        return method

    def attach(self, clip: Clip, task: Task) -> Adapter:
        adapter = self.wrapped.attach(clip, task)
        groups = self._groups(attached_blocks(adapter))
        if not groups:
            raise UsageError(
                f"method.host: {self.host} has no parts in blocks that could be switched;"
                " lora, adaring and full_rank have"
            )
        parameters = [[n for block in g for n in parameters_of(adapter, block)] for g in groups]
        draw = partial(_draw, groups=len(groups), probability=self.probability)
        keep = adapter.draw("shared.coto", torch.ones(len(groups)), draw, parameters)
        for i, group in enumerate(groups):
            for block in group:
                attach_switch(adapter, block, keep[i])
        return adapter

    def probability(self, progress: float) -> float:
        """Return the probability that a group is on, at a fraction of the training."""
        done = progress / self.ramp if self.ramp else 1.0
        return min(self.last, self.first + (self.last - self.first) * min(done, 1.0))

    def _groups(self, blocks: list[Block]) -> list[list[Block]]:
        """Group neighboring blocks of one tower; a tower's last group may be smaller."""
        groups = []
        for tower in dict.fromkeys(block.tower for block in blocks):
            mine = [block for block in blocks if block.tower == tower]
            groups += [mine[i : i + self.group] for i in range(0, len(mine), self.group)]
        return groups


def _draw(
    progress: float, rng: torch.Generator, groups: int, probability: Callable[[float], float]
) -> Tensor:
    """Return which groups are on (groups,): at least one, at random if the probability is 0."""
    p = probability(progress)
    if p <= 0:
        keep = torch.zeros(groups, device="cpu")
        keep[torch.randint(groups, (1,), generator=rng, device="cpu")] = 1
        return keep
    while True:
        keep = (torch.rand(groups, generator=rng, device="cpu") <= p).float()
        if bool(keep.any()):
            return keep
