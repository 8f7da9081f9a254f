"""Capture and replay of whole optimizer steps, as CUDA graphs or compiled code.

A step of a small model waits for its thousand kernel launches more than for its work. A graph
launches all of them at once and repeats the same operations on the same memory. So a step is
captured only if nothing but numbers on the device changes between two steps: the batch, learning
rates, values that follow the progress of training, and random numbers, which are drawn before the
replay. Steps stay eager where parameters are inactive in some steps or a function asks for the
progress. The first replay of each capture is compared with the eager step; if they differ, the
training continues eagerly.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from harness.model import run_options
from harness.train.batches import Batch
from harness.train.compiled_step import CompiledStepRecorder
from harness.train.gradients import Outcome
from harness.train.trial_group import TrialGroup
from methods.kit.binding.randomness import RandomTape

WARM_UP_STEPS = 2  # eager steps of a shape before its capture: libraries choose and allocate there
MAX_SHAPES = 4  # captured per task; each keeps the memory of its step
TOLERANCE = 1e-3  # of a tensor's largest number: the most that a replay may be off

GRAPH_TAG = "graph"  # the tag that says whether steps were replayed, or why not
REPLAYED = "replayed"


class Recorder(Protocol):
    """Captures steps. ``keeps_gradients``: a replay leaves gradients where the step did."""

    keeps_gradients: bool

    def capture(self, run: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
        """Return the outcome of ``run``, and a function that repeats it on the same memory.

        The step may or may not have been executed once. Raises what ``run`` raises, and an error
        for what cannot be captured.
        """

    def warm_up(self, run: Callable[[], Outcome]) -> Outcome:
        """Take an eager step that precedes a capture."""


class CudaGraphRecorder:
    """CUDA graphs that share their memory, as steps are taken one at a time.

    Eager steps run on the stream of the capture: autograd accumulates gradients on the stream where
    it first met a tensor, and a captured step must not wait for another stream.
    """

    keeps_gradients = True

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream()

    def capture(self, run: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            outcome = run()
        return outcome, graph.replay

    def warm_up(self, run: Callable[[], Outcome]) -> Outcome:
        now = torch.cuda.current_stream()
        self.stream.wait_stream(now)
        with torch.cuda.stream(self.stream):
            outcome = run()
        now.wait_stream(self.stream)
        return outcome


def step_recorder(device: torch.device) -> Recorder | None:
    """Return what captures steps on a device; None where all steps are eager."""
    options = run_options.current()
    if not options.captures_steps(device):
        return None
    return CompiledStepRecorder() if options.steps == "compiled" else CudaGraphRecorder()


Compute = Callable[[Batch, Any], Outcome]  # of a batch and the progress of training


class UnreadableProgress:
    """Stands for the progress of training while a step is captured: using it is an error."""

    def __getattr__(self, name: str) -> Any:
        raise TypeError("the method asks for the progress of training")


@dataclass
class _CapturedStep:
    """A captured step, and the batch in the memory that it reads."""

    group: TrialGroup
    batch: Batch
    tape: RandomTape
    outcome: Outcome
    repeat: Callable[[], None]
    gradients: list[Tensor | None]  # of the buffers, where a replay writes them

    def replay(self, batch: Batch, step: int, progress: float) -> Outcome:
        self.tape.redraw(step, progress)
        for own, new in zip(_tensors(self.batch), _tensors(batch), strict=True):
            own.copy_(new)
        self.repeat()
        for buffer, gradient in zip(self.group.buffers, self.gradients, strict=True):
            buffer.tensor.grad = gradient
        loss, correct = self.outcome
        return loss.clone(), correct.clone()


@dataclass
class ReplayCache:
    """The captured steps of a trial group, by shape of the batch.

    ``reads_gradients``: somebody reads the gradients that a step leaves.
    """

    group: TrialGroup
    recorder: Recorder
    tasks: int = 1
    reads_gradients: bool = False
    obstacle: str = ""  # why no step is captured or replayed any more
    _counts: dict[Hashable, int] = field(default_factory=dict)
    _captured: dict[Hashable, _CapturedStep] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wirings = (stack.adapters[0].wiring for stack in self.group.stacks)
        if any(draw.parameters for wiring in wirings for draw in wiring.draws.values()):
            self.obstacle = "parameters are inactive in some steps"
        if self.reads_gradients and not self.recorder.keeps_gradients:
            self.obstacle = "compiled steps keep no gradients, by which data sets are compared"

    def take(
        self, compute: Compute, batch: Batch, step: int, progress: float, depends: Hashable = None
    ) -> Outcome:
        """Take a step: replay it, or ``compute(batch, progress)`` it, to be captured or not.

        ``depends``: all that it depends on besides numbers on the device.
        """
        shapes = ((t.shape, t.dtype) for t in _tensors(batch))
        key = (depends, self.group.removals, batch.streams, *shapes)
        if key in self._captured:
            return self._captured[key].replay(batch, step, progress)
        self._counts[key] = self._counts.get(key, 0) + 1
        if self.obstacle or len(self._captured) == MAX_SHAPES * self.tasks:
            return compute(batch, progress)
        eager = partial(compute, batch, progress)
        if self._counts[key] <= WARM_UP_STEPS:
            return self.recorder.warm_up(eager)
        self.group.tape = tape = RandomTape()
        before = _TrainingState(self.group)
        try:
            expected = self.recorder.warm_up(eager)
            after = _TrainingState(self.group)
            before.restore()
            try:
                captured = self._capture(compute, batch, before, tape)
                loss, _ = captured.replay(batch, step, progress)
            except Exception as error:
                self._give_up(str(error).splitlines()[0] if str(error) else type(error).__name__)
            else:
                if after.close_to(_TrainingState(self.group)) and _close(loss, expected[0]):
                    self._captured[key] = captured
                else:
                    self._give_up("a replayed step differed from the step")
            after.restore()
        finally:
            self.group.tape = None
        return expected

    def _capture(
        self, compute: Compute, batch: Batch, before: "_TrainingState", tape: RandomTape
    ) -> _CapturedStep:
        """Capture a step on a copy of its batch, which leaves the state as it was before."""
        x, labels, rows = (t.clone() for t in _tensors(batch))
        own = replace(batch, x=x, labels=labels, rows=rows)
        outcome, repeat = self.recorder.capture(lambda: compute(own, UnreadableProgress()))
        before.restore()
        gradients = [buffer.tensor.grad for buffer in self.group.buffers]
        return _CapturedStep(self.group, own, tape, outcome, repeat, gradients)

    def _give_up(self, reason: str) -> None:
        self.obstacle = reason
        self._captured.clear()

    def tag(self) -> str:
        """Whether steps were replayed, as it is recorded."""
        if self._captured:
            return REPLAYED
        return f"no: {self.obstacle or 'too few steps of one shape'}"


class _TrainingState:
    """A copy of everything that a step updates."""

    def __init__(self, group: TrialGroup) -> None:
        moments = [
            value
            for optimizer in group.optimizer.optimizers
            for state in optimizer.state.values()
            for value in state.values()
            if isinstance(value, Tensor)
        ]
        self.live = [*(buffer.tensor.detach() for buffer in group.buffers), *moments]
        self.copies = [t.clone() for t in self.live]

    def restore(self) -> None:
        for live, copy in zip(self.live, self.copies, strict=True):
            live.copy_(copy)

    def close_to(self, other: "_TrainingState") -> bool:
        return all(_close(a, b) for a, b in zip(self.copies, other.copies, strict=True))


def _close(a: Tensor, b: Tensor) -> bool:
    if not a.numel():
        return True
    return bool((a - b).abs().max() <= TOLERANCE * b.abs().max() + 1e-8)


def _tensors(batch: Batch) -> Sequence[Tensor]:
    return batch.x, batch.labels, batch.rows
