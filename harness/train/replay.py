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


class UnreadableProgress:
    """Stands for the progress of training while a step is captured: using it is an error."""

    def __getattr__(self, name: str) -> Any:
        raise TypeError("the method asks for the progress of training")


@dataclass(frozen=True)
class StepRequest:
    """A step to take. ``compute(batch, progress)`` takes it; ``key`` holds all that it depends on
    besides numbers on the device."""

    key: Hashable
    batch: Batch
    compute: Callable[[Batch, Any], Outcome]
    step: int
    progress: float

    def run(self) -> Outcome:
        return self.compute(self.batch, self.progress)


@dataclass
class _CapturedStep:
    """A captured step, and the batch in the memory that it reads."""

    group: TrialGroup
    batch: Batch
    tape: RandomTape
    outcome: Outcome
    repeat: Callable[[], None]
    gradients: list[Tensor | None]  # of the buffers, where a replay writes them

    def replay(self, request: StepRequest) -> Outcome:
        self.tape.redraw(request.step, request.progress)
        for own, new in zip(_tensors(self.batch), _tensors(request.batch), strict=True):
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

    def take(self, request: StepRequest) -> Outcome | None:
        """Replay a step, or take it to warm up or to capture it.

        Returns None where it has to be computed eagerly; nothing has been updated then.
        """
        batch = request.batch
        shapes = ((t.shape, t.dtype) for t in _tensors(batch))
        key = (request.key, self.group.removals, batch.streams, *shapes)
        if key in self._captured:
            return self._captured[key].replay(request)
        self._counts[key] = self._counts.get(key, 0) + 1
        if self.obstacle or len(self._captured) == MAX_SHAPES * self.tasks:
            return None
        if self._counts[key] <= WARM_UP_STEPS:
            return self.recorder.warm_up(request.run)
        self.group.tape = tape = RandomTape()
        try:
            captured, outcome = self._capture(request, tape)
        finally:
            self.group.tape = None
        if captured is not None:
            self._captured[key] = captured
        return outcome

    def _capture(
        self, request: StepRequest, tape: RandomTape
    ) -> tuple[_CapturedStep | None, Outcome]:
        """Take the step, capture it, and compare a replay with it."""
        x, labels, rows = (t.clone() for t in _tensors(request.batch))
        own = replace(request.batch, x=x, labels=labels, rows=rows)
        before = _TrainingState(self.group)
        expected = self.recorder.warm_up(request.run)
        after = _TrainingState(self.group)
        before.restore()
        captured = None
        try:
            outcome, repeat = self.recorder.capture(
                lambda: request.compute(own, UnreadableProgress())
            )
            before.restore()
            gradients = [buffer.tensor.grad for buffer in self.group.buffers]
            captured = _CapturedStep(self.group, own, tape, outcome, repeat, gradients)
            loss, _ = captured.replay(request)
        except Exception as error:
            captured = None
            self._give_up(str(error).splitlines()[0] if str(error) else type(error).__name__)
        else:
            if not (after.close_to(_TrainingState(self.group)) and _close(loss, expected[0])):
                captured = None
                self._give_up("a replayed step differed from the step")
        after.restore()
        return captured, expected

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
