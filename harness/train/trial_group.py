"""Trials that are trained together over one frozen backbone (co-training).

Trials with the same wiring are stacked: their parameters have a leading trial axis, and everything
the method computes is computed once for all of them. Stacks meet at the sites
(methods/kit/binding/cotrained.py). A single trial is a group of one, without a trial axis.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.split import Images
from harness.spec.spec import TrainSpec
from harness.train.flat_parameters import ParameterBuffer, parameter_buffers
from harness.train.optimizer import Optimizer
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.binding.cotrained import Cotrained, union
from methods.kit.binding.randomness import Noise, RandomTape
from methods.kit.contract.adapter import Adapter

ImageRange = tuple[int, int, int]  # of a micro-batch: start, stop, images of the whole batch


@dataclass(frozen=True, eq=False)
class Trial:
    """One adapter, its training settings and its training images, one set per task.

    Trials with the same ``stack_key`` have the same wiring; with None a trial has a stack of its
    own.
    """

    adapter: Adapter
    cfg: TrainSpec
    seed: int = 1
    data: tuple[Images, ...] = ()
    stack_key: Hashable = None

    @property
    def stream_key(self) -> Hashable:
        """Trials that share a data stream get the same images, order and augmentation."""
        return self.seed, tuple(images.key for images in self.data)


@dataclass
class TrialStack:
    """Trials whose parameters are stacked."""

    trials: list[Trial]
    buffers: list[ParameterBuffer] = field(init=False)

    def __post_init__(self) -> None:
        self.buffers = parameter_buffers(self.adapters)

    @property
    def adapters(self) -> list[Adapter]:
        return [trial.adapter for trial in self.trials]

    def values(self, single: bool) -> dict[str, Tensor]:
        """All owned tensors for one step."""
        values: dict[str, Tensor] = {}
        for buffer in self.buffers:
            values |= buffer.by_name(buffer.tensor, single)
        each = [adapter.values() for adapter in self.adapters]
        for name, value in each[0].items():
            if name not in values:
                values[name] = value if single else torch.stack([own[name] for own in each])
        return values

    def bind(self, single: bool, *when: Any) -> BoundAdapter:
        """Resolve the adapters for one step; ``when``: the arguments of Noise after its seeds."""
        seeds = [trial.seed for trial in self.trials]
        noise = Noise(seeds[0] if single else seeds, *when)
        count = None if single else len(seeds)
        return self.trials[0].adapter.bind(self.values(single), count, noise)


class TrialGroup:
    """The active trials of a training, in stacks, and their optimizer."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        by_key: dict[Hashable, list[Trial]] = {}
        for i, trial in enumerate(trials):
            key = (i,) if trial.stack_key is None else trial.stack_key
            by_key.setdefault(key, []).append(trial)
        self.stacks = [TrialStack(stacked) for stacked in by_key.values()]
        wirings = [stack.trials[0].adapter.wiring for stack in self.stacks]
        self.wiring = wirings[0] if len(wirings) == 1 else union(wirings)
        self.inactive: Sequence[tuple[int, str]] = ()  # (trial, parameter) of this step
        self.updating = False  # the optimizer has begun: the step cannot be repeated
        self.removals = 0
        self.tape: RandomTape | None = None  # holds what a captured step draws
        self.optimizer = Optimizer(
            [
                (row, buffer.group, trial.cfg)
                for stack in self.stacks
                for buffer in stack.buffers
                for row, trial in zip(buffer.rows, stack.trials, strict=True)
            ]
        )

    @property
    def trials(self) -> list[Trial]:
        """The active trials, in the order of the trial axis."""
        return [trial for stack in self.stacks for trial in stack.trials]

    @property
    def buffers(self) -> Iterator[ParameterBuffer]:
        return (buffer for stack in self.stacks for buffer in stack.buffers)

    @property
    def single(self) -> bool:
        """Whether there is one trial, hence no trial axis."""
        return len(self.trials) == 1

    def bind(
        self, step: int, progress: float, device: torch.device, images: ImageRange | None = None
    ) -> BoundAdapter:
        """Resolve all trials for one step, or for some images of its batch."""
        when = (step, device, progress, 0, images, self.tape)
        bounds = [stack.bind(self.single, *when) for stack in self.stacks]
        return bounds[0] if len(bounds) == 1 else Cotrained(self.wiring, bounds)

    def train(self, on: bool = True) -> None:
        for trial in self.trials:
            trial.adapter.train(on)

    def advance(self, progress: float, step: int) -> None:
        """Set what follows the progress of training."""
        for trial in self.trials:
            trial.adapter.advance(progress, trial.seed, step)

    def select_task(self, task: int) -> None:
        """Tell the adapters which data set the next batch is of."""
        for trial in self.trials:
            trial.adapter.set_tracked("task", task)

    def zero_grad(self) -> None:
        """Begin a step: drop the gradients of the last one."""
        self.updating = False
        for buffer in self.buffers:
            buffer.tensor.grad = None

    def tensors(self, trials: slice, names: Sequence[str]) -> list[Tensor]:
        """The buffers that hold these parameters of the trials of one stack."""
        stack, _ = self._locate(trials.start)
        return [b.tensor for b in stack.buffers if set(b.names) <= set(names)]

    def update(self) -> None:
        """Clip each trial's gradients and update all but the inactive parameters."""
        self.updating = True
        for buffer in self.buffers:
            buffer.assign_gradients()
        for k, name in self.inactive:
            stack, place = self._locate(k)
            for buffer in stack.buffers:
                if name in buffer.names:
                    buffer.rows[place].grad = None
        for stack in self.stacks:
            for place, trial in enumerate(stack.trials):
                if trial.cfg.clip_grad:
                    rows = [buffer.rows[place] for buffer in stack.buffers]
                    nn.utils.clip_grad_norm_(rows, trial.cfg.clip_grad)
        self.optimizer.step()

    def gradients(self) -> dict[str, Tensor]:
        """Gradients of the last step by name, with a trial axis unless there is one trial."""
        assert len(self.stacks) == 1, "names of one method"
        found: dict[str, Tensor] = {}
        for buffer in self.buffers:
            if buffer.tensor.grad is not None:
                found |= buffer.by_name(buffer.tensor.grad, self.single)
        return found

    def retain(self, trials: Sequence[Trial]) -> None:
        """Continue with these trials alone; the others leave every buffer."""
        self.removals += 1
        moved: dict[Tensor, Tensor] = {}
        for stack in self.stacks:
            places = [k for k, trial in enumerate(stack.trials) if trial in trials]
            if len(places) == len(stack.trials):
                moved |= {row: row for buffer in stack.buffers for row in buffer.rows}
                continue
            stack.trials = [stack.trials[k] for k in places]
            for buffer in stack.buffers if places else ():
                moved |= buffer.select(places, stack.adapters)
        self.stacks = [stack for stack in self.stacks if stack.trials]
        self.optimizer.retain(moved)

    def _locate(self, k: int) -> tuple[TrialStack, int]:
        """Return the stack of trial ``k`` and its place there."""
        for stack in self.stacks:
            if k < len(stack.trials):
                return stack, k
            k -= len(stack.trials)
        raise IndexError(k)
