"""Trials that are trained side by side over one frozen backbone.

Trials of one method with the same settings form a group: their tensors are stacked, and everything
the method does is done once for all of them. Groups meet at the sites
(methods/kit/binding/cotrained.py). A trial alone is a crew of one, without any trial axis.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.split import Images
from harness.spec.spec import TrainSpec
from harness.train.flat_parameters import ParameterBuffer, parameter_buffers
from harness.train.optimizer import Optimizer, optimizer_rows
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.binding.cotrained import Cotrained, union
from methods.kit.binding.randomness import Noise, RandomTape
from methods.kit.contract.adapter import Adapter

ImageRange = tuple[
    int, int, int
]  # the images of a batch that are passed: start, stop, how many it has


@dataclass(frozen=True, eq=False)
class Trial:
    """One adapter and how it is trained. Trials of one ``shape`` hang the same functions.

    ``train`` are its images, where batches are made of them.
    """

    adapter: Adapter
    cfg: TrainSpec
    seed: int = 1
    train: Images | None = None
    shape: Hashable = None

    @property
    def feed(self) -> Hashable:
        """Trials of one feed see the same images in the same order, looking the same."""
        return self.seed, self.train and self.train.key


@dataclass
class StackedTrials:
    """Trials whose tensors are stacked."""

    trials: list[Trial]
    leaves: list[ParameterBuffer] = field(init=False)

    def __post_init__(self) -> None:
        self.leaves = parameter_buffers(self.adapters)

    @property
    def adapters(self) -> list[Adapter]:
        return [trial.adapter for trial in self.trials]

    def values(self, lone: bool) -> dict[str, Tensor]:
        """Everything owned, for one step."""
        found: dict[str, Tensor] = {}
        for leaf in self.leaves:
            found |= leaf.values(lone)
        each = [adapter.values() for adapter in self.adapters]
        for name, value in each[0].items():
            if name not in found:
                found[name] = value if lone else torch.stack([values[name] for values in each])
        return found

    def bind(self, lone: bool, *when: Any) -> BoundAdapter:
        """``when``: what a Noise takes behind its seeds."""
        seeds = [trial.seed for trial in self.trials]
        noise = Noise(seeds[0] if lone else seeds, *when)
        count = None if lone else len(seeds)
        return self.trials[0].adapter.bind(self.values(lone), count, noise)


class TrialGroup:
    """The living trials, in groups, and their optimiser."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        by_shape: dict[Hashable, list[Trial]] = {}
        for i, trial in enumerate(trials):
            key = (i,) if trial.shape is None else trial.shape
            by_shape.setdefault(key, []).append(trial)
        self.groups = [StackedTrials(mine) for mine in by_shape.values()]
        wirings = [group.trials[0].adapter.wiring for group in self.groups]
        self.wiring = wirings[0] if len(wirings) == 1 else union(wirings)
        self.inactive: Sequence[
            tuple[int, str]
        ] = ()  # (trial, parameter) that this step leaves alone
        self.moving = False
        self.changes = 0  # of who lives
        self.tape: RandomTape | None = None  # holds what steps draw
        self.optimizer = Optimizer(
            [
                row
                for group in self.groups
                for leaf in group.leaves
                for row in optimizer_rows(leaf, [t.cfg for t in group.trials])
            ]
        )

    @property
    def trials(self) -> list[Trial]:
        """The living trials, in the order of the trial axis."""
        return [trial for group in self.groups for trial in group.trials]

    @property
    def leaves(self) -> Iterator[ParameterBuffer]:
        return (leaf for group in self.groups for leaf in group.leaves)

    @property
    def lone(self) -> bool:
        """Whether there is one trial, hence no trial axis."""
        return len(self.groups) == 1 and len(self.groups[0].trials) == 1

    def bind(
        self, step: int, progress: float, device: torch.device, part: ImageRange | None = None
    ) -> BoundAdapter:
        """All trials resolved for one step, or for these images of it: (start, stop, images)."""
        when = (step, device, progress, 0, part, self.tape)
        bounds = [group.bind(self.lone, *when) for group in self.groups]
        return bounds[0] if len(bounds) == 1 else Cotrained(self.wiring, bounds)

    def train(self, on: bool = True) -> None:
        for trial in self.trials:
            trial.adapter.train(on)

    def advance(self, progress: float, step: int) -> None:
        for trial in self.trials:
            trial.adapter.advance(progress, trial.seed, step)

    def clear(self) -> None:
        """Begin a step: forget the gradients of the last."""
        self.moving = False
        for leaf in self.leaves:
            leaf.buffer.grad = None

    def buffers(self, where: slice, names: Sequence[str]) -> list[Tensor]:
        """The leaves that hold these names of these trials, which are a group."""
        group, _ = self._place(where.start)
        return [leaf.buffer for leaf in group.leaves if set(leaf.names) <= set(names)]

    def move(self) -> None:
        """Let the optimiser move all but what is inactive, by gradients clipped trial by trial."""
        self.moving = True  # from here on the step cannot be taken again
        for leaf in self.leaves:
            leaf.hand_over()
        for k, name in self.inactive:
            group, place = self._place(k)
            for leaf in group.leaves:
                if name in leaf.names:
                    leaf.rows[place].grad = None
        for group in self.groups:
            for place, trial in enumerate(group.trials):
                if trial.cfg.clip_grad:
                    rows = [leaf.rows[place] for leaf in group.leaves]
                    nn.utils.clip_grad_norm_(rows, trial.cfg.clip_grad)
        self.optimizer.step()

    def gradients(self) -> dict[str, Tensor]:
        """Of the last step, by name, with the trials in front unless there is one."""
        assert len(self.groups) == 1, "names of one method"
        found: dict[str, Tensor] = {}
        for leaf in self.leaves:
            if leaf.buffer.grad is not None:
                found |= leaf.named(leaf.buffer.grad, self.lone)
        return found

    def _place(self, k: int) -> tuple[StackedTrials, int]:
        """The group of a trial, and its place there."""
        for group in self.groups:
            if k < len(group.trials):
                return group, k
            k -= len(group.trials)
        raise IndexError(k)

    def keep(self, stays: Sequence[Trial]) -> None:
        """Go on without the others: they leave every buffer."""
        self.changes += 1
        moved: dict[Tensor, Tensor] = {}
        groups = []
        for group in self.groups:
            places = [k for k, trial in enumerate(group.trials) if trial in stays]
            if not places:
                continue
            if len(places) < len(group.trials):
                group.trials = [group.trials[k] for k in places]
                for leaf in group.leaves:
                    for old, k in leaf.keep(places, group.adapters).items():
                        moved[old] = leaf.rows[k]
            else:
                moved |= {row: row for leaf in group.leaves for row in leaf.rows}
            groups.append(group)
        self.groups = groups
        self.optimizer.follow(moved)
