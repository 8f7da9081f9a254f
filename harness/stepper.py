"""How the steps of a training are computed: whole, or in parts once memory has run out."""

import math
from collections.abc import Callable
from functools import partial

from harness import memory
from harness.batch import Batch
from harness.classifier import Classifier
from harness.crew import Crew
from harness.step import Outcome, train_step
from harness.teacher import FrozenModel

StepHook = Callable[[int, Callable[[], Outcome]], Outcome]
MICRO = "micro_batch"  # the tag of a run whose batches passed in parts: images in each, at most


class Stepper:
    """Takes the steps of a crew one after another; ``around(step, run)`` may wrap each.

    When memory runs out in the step of a trial that is alone, its batches pass in twice as many
    parts from then on: the same steps (harness/step.py). Of several trials the error is raised, as
    fewer of them fit (harness/together.py).
    """

    def __init__(self, crew: Crew, around: StepHook | None = None) -> None:
        self.crew = crew
        self.around = around
        self.parts = 1
        self.tags: dict[str, str] = {}  # what is recorded of it

    def __call__(
        self,
        net: Classifier,
        batch: Batch,
        step: int,
        progress: float,
        teacher: FrozenModel | None = None,
    ) -> Outcome:
        while True:
            args = (net, self.crew, batch, step, progress, teacher, self.parts)
            run = partial(train_step, *args)
            try:
                return self.around(step, run) if self.around else run()
            except Exception as error:
                fewer = self.crew.lone and not self.crew.moving and self.parts < len(batch)
                if not (memory.ran_out(error) and fewer):
                    raise
            self.parts = min(2 * self.parts, len(batch))  # out of the handler, which holds tensors
            self.tags[MICRO] = str(math.ceil(len(batch) / self.parts))
            self.crew.clear()
            memory.release()
