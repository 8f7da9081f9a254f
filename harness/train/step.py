"""How steps are computed: whole, in micro-batches where memory is short, or replayed."""

import math
from collections.abc import Callable
from typing import Any

from harness.model import out_of_memory
from harness.model.classifier import Classifier
from harness.train.batches import Batch
from harness.train.gradients import Outcome, train_step
from harness.train.replay import GRAPH_TAG, Recorder, ReplayCache
from harness.train.teacher import FrozenTeacher
from harness.train.trial_group import TrialGroup

StepHook = Callable[[int, Callable[[], Outcome]], Outcome]
MICRO_BATCH_TAG = "micro_batch"  # of a run with micro-batches: the most images of one


class Stepper:
    """Takes the steps of a trial group one after another; ``step_hook(step, run)`` may wrap each.

    When a single trial runs out of memory, its batches are cut into twice as many micro-batches
    from then on: the same steps (harness/train/gradients.py). With several trials the error is
    raised, as fewer of them fit (harness/run/cotrain.py). With a recorder, steps are replayed.
    """

    def __init__(
        self,
        group: TrialGroup,
        step_hook: StepHook | None = None,
        recorder: Recorder | None = None,
        tasks: int = 1,
        reads_gradients: bool = False,
    ) -> None:
        """``reads_gradients``: somebody reads the gradients that a step leaves."""
        self.group = group
        self.step_hook = step_hook
        self.micro_batches = 1
        self.replays = ReplayCache(group, recorder, tasks, reads_gradients) if recorder else None
        self._micro_batch_size = 0

    @property
    def tags(self) -> dict[str, str]:
        """How the steps were computed, as it is recorded."""
        tags = {MICRO_BATCH_TAG: str(self._micro_batch_size)} if self._micro_batch_size else {}
        return tags | ({GRAPH_TAG: self.replays.tag()} if self.replays else {})

    def __call__(
        self,
        net: Classifier,
        batch: Batch,
        step: int,
        progress: float,
        teacher: FrozenTeacher | None = None,
    ) -> Outcome:
        """Take one step."""

        def compute(batch: Batch, progress: Any) -> Outcome:
            return train_step(net, self.group, batch, step, progress, teacher, self.micro_batches)

        def run() -> Outcome:
            if self.replays is None:
                return compute(batch, progress)
            depends = (id(net), self.micro_batches, batch.view if teacher else None)
            return self.replays.take(compute, batch, step, progress, depends)

        while True:
            try:
                return self.step_hook(step, run) if self.step_hook else run()
            except Exception as error:
                whole = self.group.single and not self.group.updating
                divisible = whole and self.micro_batches < len(batch)
                if not (out_of_memory.is_out_of_memory(error) and divisible):
                    raise
            # out of the handler, which holds tensors
            self.micro_batches = min(2 * self.micro_batches, len(batch))
            self._micro_batch_size = math.ceil(len(batch) / self.micro_batches)
            self.group.zero_grad()
            out_of_memory.release_memory()
