"""The sampler and the pruner of a sweep."""

import hashlib
from functools import partial
from statistics import median

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweeps.study.sweep_plan import SweepPlan

SAMPLERS = {
    "tpe": optuna.samplers.TPESampler,
    "gp": optuna.samplers.GPSampler,
    "nsga2": partial(optuna.samplers.NSGAIISampler, population_size=16),  # sweeps are short
}
FIRST_TRIALS = 5  # complete trials before anything is pruned


class SameStepPruner(optuna.pruners.BasePruner):  # type: ignore[misc]
    """Prunes a trial that is worse than the median of complete trials at the same step.

    A trial's mean after two data sets is compared with that of other trials after the same two.
    Optuna's MedianPruner compares the best of a trial's steps, so that an easy first data set would
    protect a trial for good.
    """

    def __init__(self, maximize: bool = True, start: int = FIRST_TRIALS) -> None:
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
        value, middle = trial.intermediate_values[step], median(others)
        return bool(value < middle if self.maximize else value > middle)


def make_pruner(plan: SweepPlan) -> optuna.pruners.BasePruner:
    if not plan.prunes:
        return optuna.pruners.NopPruner()
    if plan.options.pruner == "hyperband":
        steps = plan.step(len(plan.cells))
        return optuna.pruners.HyperbandPruner(
            min_resource=1, max_resource=steps, reduction_factor=2
        )
    return SameStepPruner(maximize=plan.directions[0] == "maximize")


def make_sampler(plan: SweepPlan, ordinal: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of one trial, seeded by the number of trials before it.

    A resumed sweep so continues as it would have, instead of repeating its random numbers.
    """
    digest = hashlib.sha256(f"{plan.options.sampler_seed}:{ordinal}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big")
    sampler = SAMPLERS.get(plan.options.sampler, optuna.samplers.RandomSampler)
    return sampler(seed=seed)
