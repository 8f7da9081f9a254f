"""Median pruning among means over the same runs.

A trial's running mean after two data sets is compared with that of other trials after the same
two. Optuna's MedianPruner compares the best of a trial's steps, and an easy first data set would
shield a trial for good.
"""

from statistics import median

import optuna
from optuna.trial import FrozenTrial, TrialState

START = 5  # complete trials before anything is pruned


class SameStep(optuna.pruners.BasePruner):  # type: ignore[misc]
    """Prune a trial that is worse than the median of complete trials at the same step."""

    def __init__(self, maximize: bool = True, start: int = START) -> None:
        self.maximize, self.start = maximize, start

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        others = [
            t.intermediate_values[step]
            for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if step in t.intermediate_values
        ]
        if step is None or len(others) < self.start:
            return False
        mine, middle = trial.intermediate_values[step], median(others)
        return bool(mine < middle if self.maximize else mine > middle)
