"""Validation checkpoints inside the runs of a trial: after which epochs, and at which steps.

Every run has checkpoints after the same shares of its epochs; its end is one more step. The steps
of a trial count through all of its runs, whatever a run's length, so that a step means the same in
every trial of a sweep. The value at a step is the mean over the runs that ended and the present
one. A run found in the ledger brings the checkpoints that were recorded with it; it is already paid
for, so nothing prunes it.

The median was replayed over three random sweeps of 30 trials each on the embedded suite in which
all trials ran (adaring on digits, clip_adapter on icon-concepts and fashion-mnist). Checkpoints
after 1/4, 1/2 and 3/4 saved 49, 51 and 43 % of the epochs and kept the best trial each time; of the
best fifth they pruned 3 of 9, 1 of 6 and 1 of 6. One checkpoint after 3/4 saved 18, 18 and 15 % and
pruned 3, 0 and 0 of them.
"""

import math
from collections.abc import Sequence
from statistics import fmean

from harness.run.pruning import Checkpoint, PruningRule
from harness.spec.spec import Spec
from harness.tracking.driver import RunOutcome
from harness.tracking.ledger import Ledger
from sweeps.study.optuna_study import RunningTrial, Study


def checkpoint_epochs(epochs: int, count: int) -> dict[int, int]:
    """Return epochs with their checkpoints, both from 1, evenly spread.

    Where epochs are few, there are fewer checkpoints.
    """
    chosen: dict[int, int] = {}
    for checkpoint in range(1, count + 1):
        exact = epochs * checkpoint / (count + 1)
        epoch = math.floor(exact + 0.5)
        other = chosen.get(epoch)
        nearer = other is None or abs(exact - epoch) < abs(epochs * other / (count + 1) - epoch)
        if 0 < epoch < epochs and nearer:
            chosen[epoch] = checkpoint
    return chosen


class RunCheckpoints:
    """The validation checkpoints of one run in a trial, after the runs already finished."""

    def __init__(
        self, study: Study, trial: RunningTrial, spec: Spec, done: Sequence[RunOutcome]
    ) -> None:
        plan = study.plan
        self._study, self._trial = study, trial
        self._objective, self._runs = plan.objectives[0], len(plan.cells)
        self._epochs = spec.train.epochs
        self._before = [d.metrics[self._objective] for d in done] if plan.checkpoints else []
        self._checkpoints = checkpoint_epochs(self._epochs, plan.checkpoints)
        self.why_pruned = ""

    @property
    def pruning_rule(self) -> PruningRule | None:
        """The pruning rule of a new run; None where there are no checkpoints."""
        return (
            PruningRule(frozenset(self._checkpoints), self._goes_on) if self._checkpoints else None
        )

    def report_recorded(self, ledger: Ledger, run: RunOutcome) -> None:
        """Report the checkpoints of a run from the ledger, so that later trials compare."""
        if not self._checkpoints or not run.recorded:
            return
        recorded = ledger.checkpoint_scores(run.run_id, self._objective)
        for epoch in sorted(self._checkpoints.keys() & recorded.keys()):
            self._report(epoch, recorded[epoch])

    def _goes_on(self, checkpoint: Checkpoint) -> bool:
        prune, value = self._report(checkpoint.epoch, checkpoint.scores[self._objective])
        if prune:
            self.why_pruned = (
                f"{self._objective} {value:.2f} after epoch {checkpoint.epoch} of {self._epochs}"
            )
            if self._runs > 1:
                self.why_pruned += f" of run {len(self._before) + 1} of {self._runs}"
        return not prune

    def _report(self, epoch: int, value: float) -> tuple[bool, float]:
        mean = fmean([*self._before, value])
        step = self._study.plan.step(len(self._before), self._checkpoints[epoch])
        return self._study.report(self._trial, step, mean), mean
