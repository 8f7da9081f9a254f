"""Whole optimiser steps recorded once and replayed: CUDA graphs, or compiled code.

A step of a small model waits for its thousand launches more than for its work. A graph launches
all of them at once, and does the same to the same memory each time. So a step is recorded only if
nothing in it changes but numbers on the device: the batch, the rates, what follows the progress of
training, and what is drawn at random, which is drawn before. Where parts sleep in some steps, or a
function asks for the progress, steps are computed as ever. The first replay of each recording is
held against the step computed as ever; if they differ, that is what goes on.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from harness.train.batches import Batch
from harness.train.compiled_step import CompiledStepRecorder
from harness.train.execution_mode import step_mode
from harness.train.gradients import Outcome
from harness.train.trial_group import TrialGroup
from methods.kit.binding.randomness import RandomTape

WARM_UP_STEPS = (
    2  # steps of a shape that are computed as ever first: libraries choose and allocate there
)
MAX_SHAPES = 4  # shapes that are recorded; each keeps what its step needs in memory
TOLERANCE = 1e-3  # of the largest number of a tensor: a replay that is further off is not believed

GRAPH_TAG = "graph"  # the tag that says whether steps were replayed, or why not
REPLAYED = "replayed"


class Recorder(Protocol):
    """Something that records what a function does on the device. ``keeps_gradients``: a replay
    leaves the gradients where the step did."""

    @property
    def keeps_gradients(self) -> bool: ...

    def record(self, run: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
        """What ``run`` returns, and a function that does the same to the same memory again. It
        may or may not have been done once. Raises what ``run`` raises, or what cannot be recorded.
        """

    def warm(self, run: Callable[[], Outcome]) -> Outcome:
        """What ``run`` returns: a step that is computed as ever, before one like it is recorded."""


class CudaGraphRecorder:
    """CUDA graphs that share their memory: one step at a time is taken.

    The steps before go over the stream on which graphs are recorded: autograd adds gradients on the
    stream where a tensor was met first, and what is recorded must not wait for another.
    """

    keeps_gradients = True

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream()

    def record(self, run: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            outcome = run()
        return outcome, graph.replay

    def warm(self, run: Callable[[], Outcome]) -> Outcome:
        now = torch.cuda.current_stream()
        self.stream.wait_stream(now)
        with torch.cuda.stream(self.stream):
            outcome = run()
        now.wait_stream(self.stream)
        return outcome


def step_recorder(device: torch.device) -> Recorder | None:
    """What records steps on a device; None where each is computed as ever."""
    if not step_mode.records(device):
        return None
    return CudaGraphRecorder() if step_mode.word == "auto" else CompiledStepRecorder()


def replay_obstacle(crew: TrialGroup) -> str:
    """Why the steps of a crew cannot be replayed; empty if they may be."""
    wirings = [group.trials[0].adapter.wiring for group in crew.groups]
    if any(draw.parameters for wiring in wirings for draw in wiring.draws.values()):
        return "parts of the adapter sleep in some steps"
    return ""


class UnreadableProgress:
    """Stands for the progress of training in a step that is recorded: whoever asks for it fails."""

    def __getattr__(self, name: str) -> Any:
        raise TypeError("the method asks for the progress of training")


@dataclass(frozen=True)
class StepRequest:
    """A step that is to be taken. ``compute(batch, progress)`` does so; ``key`` says all that it
    depends on beside the numbers on the device."""

    key: Hashable
    batch: Batch
    compute: Callable[[Batch, Any], Outcome]
    step: int
    progress: float

    def now(self) -> Outcome:
        return self.compute(self.batch, self.progress)


@dataclass
class _CapturedStep:
    """A recorded step, and the batch in the memory that it reads."""

    crew: TrialGroup
    batch: Batch
    tape: RandomTape
    outcome: Outcome
    again: Callable[[], None]
    gradients: list[Tensor | None]  # of the leaves, where it puts them

    def __call__(self, moment: StepRequest) -> Outcome:
        self.tape.redraw(moment.step, moment.progress)
        for mine, new in zip(_tensors(self.batch), _tensors(moment.batch), strict=True):
            mine.copy_(new)
        self.again()
        for leaf, gradient in zip(self.crew.leaves, self.gradients, strict=True):
            leaf.buffer.grad = gradient
        loss, right = self.outcome
        return loss.clone(), right.clone()


@dataclass
class ReplayCache:
    """The recorded steps of a crew. ``most``: shapes that are recorded; ``read``: somebody looks at
    the gradients that a step leaves."""

    crew: TrialGroup
    recorder: Recorder
    most: int = MAX_SHAPES
    read: bool = False
    why: str = ""  # it is over
    _met: dict[Hashable, int] = field(default_factory=dict)
    _kept: dict[Hashable, _CapturedStep] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.why = replay_obstacle(self.crew)
        if self.read and not self.recorder.keeps_gradients:
            self.why = "compiled steps keep no gradients, by which data sets are compared"

    def take(self, moment: StepRequest) -> Outcome | None:
        """The outcome of a step that could be replayed or is to be recorded, or None: compute it
        as ever. Nothing has moved where None is returned."""
        batch = moment.batch
        forms = (_shape_key(t) for t in _tensors(batch))
        key = (moment.key, self.crew.changes, batch.feeds, *forms)
        if key in self._kept:
            return self._kept[key](moment)
        self._met[key] = self._met.get(key, 0) + 1
        if self.why or len(self._kept) == self.most:
            return None
        if self._met[key] <= WARM_UP_STEPS:
            return self.recorder.warm(moment.now)
        self.crew.tape = tape = RandomTape()
        try:
            replay, outcome = self._recorded(moment, tape)
        finally:
            self.crew.tape = None
        if replay is not None:
            self._kept[key] = replay
        return outcome

    def _recorded(
        self, moment: StepRequest, tape: RandomTape
    ) -> tuple[_CapturedStep | None, Outcome]:
        """Take the step, record it, and see whether a replay does the same."""
        x, labels, rows = (t.clone() for t in _tensors(moment.batch))
        own = Batch(x, labels, rows, moment.batch.look, moment.batch.feeds)
        before = _TrainingState(self.crew)
        expected = self.recorder.warm(moment.now)
        after = _TrainingState(self.crew)
        before.restore()
        replay = None
        try:
            outcome, again = self.recorder.record(lambda: moment.compute(own, UnreadableProgress()))
            before.restore()
            left = [leaf.buffer.grad for leaf in self.crew.leaves]
            replay = _CapturedStep(self.crew, own, tape, outcome, again, left)
            loss, _ = replay(moment)
        except Exception as error:
            replay = None
            self._over(str(error).splitlines()[0] if str(error) else type(error).__name__)
        else:
            if not (after.near(_TrainingState(self.crew)) and _close(loss, expected[0])):
                replay = None
                self._over("a replayed step differed from the step")
        after.restore()
        return replay, expected

    def _over(self, why: str) -> None:
        self.why = why
        self._kept.clear()

    def tag(self) -> str:
        """What is recorded of it."""
        return REPLAYED if self._kept else f"no: {self.why or 'too few steps of one shape'}"


class _TrainingState:
    """A copy of all that a step moves."""

    def __init__(self, crew: TrialGroup) -> None:
        optimizer = [
            value
            for part in crew.optimizer.parts
            for state in part.state.values()
            for value in state.values()
            if isinstance(value, Tensor)
        ]
        self.live = [*(leaf.buffer.detach() for leaf in crew.leaves), *optimizer]
        self.copies = [t.clone() for t in self.live]

    def restore(self) -> None:
        for live, copy in zip(self.live, self.copies, strict=True):
            live.copy_(copy)

    def near(self, other: "_TrainingState") -> bool:
        return all(_close(a, b) for a, b in zip(self.copies, other.copies, strict=True))


def _close(a: Tensor, b: Tensor) -> bool:
    if not a.numel():
        return True
    return bool((a - b).abs().max() <= TOLERANCE * b.abs().max() + 1e-8)


def _tensors(batch: Batch) -> Sequence[Tensor]:
    return batch.x, batch.labels, batch.rows


def _shape_key(t: Tensor) -> Hashable:
    return t.shape, t.dtype
