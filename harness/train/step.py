"""How the steps of a training are computed: whole, in parts where memory is short, or replayed."""

import math
from collections.abc import Callable
from typing import Any

from harness.model import out_of_memory
from harness.model.classifier import Classifier
from harness.train.batches import Batch
from harness.train.gradients import Outcome, train_step
from harness.train.replay import GRAPH_TAG, MAX_SHAPES, Recorder, ReplayCache, StepRequest
from harness.train.teacher import FrozenTeacher
from harness.train.trial_group import TrialGroup

StepHook = Callable[[int, Callable[[], Outcome]], Outcome]
MICRO_BATCH_TAG = (
    "micro_batch"  # the tag of a run whose batches passed in parts: images in each, at most
)


class Stepper:
    """Takes the steps of a crew one after another; ``around(step, run)`` may wrap each.

    When memory runs out in the step of a trial that is alone, its batches pass in twice as many
    parts from then on: the same steps (harness/train/gradients.py). Of several trials the error is
    raised, as fewer of them fit (harness/run/cotrain.py). On a GPU steps are replayed
    (harness/train/replay.py).
    """

    def __init__(
        self,
        crew: TrialGroup,
        around: StepHook | None = None,
        recorder: Recorder | None = None,
        sets: int = 0,
    ) -> None:
        """``sets``: data sets that take turns, whose gradients are looked at."""
        self.crew = crew
        self.around = around
        self.parts = 1
        self.replays = recorder and ReplayCache(crew, recorder, MAX_SHAPES * max(1, sets), sets > 0)
        self._micro = 0

    @property
    def tags(self) -> dict[str, str]:
        """What is recorded of it."""
        found = {MICRO_BATCH_TAG: str(self._micro)} if self._micro else {}
        return found | ({GRAPH_TAG: self.replays.tag()} if self.replays else {})

    def __call__(
        self,
        net: Classifier,
        batch: Batch,
        step: int,
        progress: float,
        teacher: FrozenTeacher | None = None,
    ) -> Outcome:
        def compute(batch: Batch, progress: Any) -> Outcome:
            return train_step(net, self.crew, batch, step, progress, teacher, self.parts)

        def run() -> Outcome:
            found = None
            if self.replays:
                key = (id(net), self.parts, batch.look if teacher else None)
                found = self.replays.take(StepRequest(key, batch, compute, step, progress))
            return compute(batch, progress) if found is None else found

        while True:
            try:
                return self.around(step, run) if self.around else run()
            except Exception as error:
                fewer = self.crew.lone and not self.crew.moving and self.parts < len(batch)
                if not (out_of_memory.is_out_of_memory(error) and fewer):
                    raise
            self.parts = min(2 * self.parts, len(batch))  # out of the handler, which holds tensors
            self._micro = math.ceil(len(batch) / self.parts)
            self.crew.clear()
            out_of_memory.release_memory()
