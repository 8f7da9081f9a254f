"""Trains runs over one frozen backbone: a single run is a group of one.

A run learns what it learns alone (tests/harness/run/test_cotrain.py). Its times are its share of
the group's; the tag ``together`` is the number of runs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import fmean

from harness.evaluate import cost, predict, scores
from harness.model.classifier import Classifier
from harness.run.prepare import PreparedRun
from harness.run.pruning import Checkpoint, PruningRule
from harness.train.cache_plan import CachePlan, make_plan
from harness.train.fit import EpochRow, EpochRows, NonFiniteLoss, fit_all
from harness.train.step import StepHook
from harness.train.trial_group import Trial, TrialGroup

GROUP_SIZE_TAG = "together"

Progress = Callable[[EpochRow], None]


@dataclass(eq=False)
class RunTraining:
    """The training of a prepared run, and what it has given so far."""

    run: PreparedRun
    pruning: PruningRule | None = None
    trial: Trial = field(init=False)
    losses: list[float] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)  # the run's share of each step
    checkpoints: list[Checkpoint] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    pruned: bool = False
    error: NonFiniteLoss | None = None

    def __post_init__(self) -> None:
        run, spec = self.run, self.run.spec
        # the wiring depends on method and task alone, unless weights come from earlier runs
        has_sources = bool(spec.method.stages() or spec.method.start or spec.method.runs)
        stack_key = None if has_sources else spec.method
        data = tuple(run.split.trains)
        self.trial = Trial(run.net.adapter, spec.train, spec.seed, data, stack_key)

    def add(self, row: EpochRow | NonFiniteLoss, meter: cost.Meter) -> None:
        """Take an epoch's numbers, and validate if it is time for a checkpoint."""
        if isinstance(row, NonFiniteLoss):
            self.error = row
            return
        self.losses.extend(row.losses)
        self.step_seconds.extend(row.step_seconds)
        self.tags |= row.tags
        epoch = row.epoch + 1
        if self.pruning is None or epoch not in self.pruning.epochs or epoch >= row.epochs:
            return
        with meter.paused(), _evaluating(self.run.net):
            self.checkpoints.append(Checkpoint(epoch, self.validate()))
            self.pruned = not self.pruning.goes_on(self.checkpoints[-1])

    def validate(self) -> dict[str, float]:
        """Return the scores on validation images, each part by the classifier of its classes."""
        nets, parts = self.run.test_nets, self.run.split.val
        return scores.val_scores([predict.predict(nets[p.name], p, recurring=True) for p in parts])


def train_all(
    trainings: Sequence[RunTraining], progress: Progress | None
) -> tuple[list[CachePlan], cost.Meter]:
    """Train runs to their ends; return what was cached for each task, and the measured costs."""
    first, spec = trainings[0].run, trainings[0].run.spec
    after_step = first.affinity.after_step if first.affinity else None
    with cost.measure_training(first.backbone.device) as meter:
        group, nets = _group(trainings)
        streams = len({training.trial.stream_key for training in trainings})
        plans = [
            make_plan(net, images, spec.train, spec.seed, spec.data.views, streams, share=len(nets))
            for net, images in zip(nets, first.split.trains, strict=True)
        ]
        if group is None:
            return plans, meter
        for rows in fit_all(nets, plans, group, _count_first_step(meter), after_step):
            if progress:
                _report(rows, progress)
            active = [training for training in trainings if training.trial in rows]
            for training in active:
                training.add(rows[training.trial], meter)
            stay = [t.trial for t in active if not (t.pruned or t.error)]
            if len(stay) < len(group.trials):
                group.retain(stay)
    return plans, meter


def _group(trainings: Sequence[RunTraining]) -> tuple[TrialGroup | None, Sequence[Classifier]]:
    """Return the trial group, None where nothing trains, and a classifier for each task."""
    first = trainings[0].run
    if not first.net.adapter.trained():
        return None, first.train_nets
    group = TrialGroup([training.trial for training in trainings])
    if len(trainings) == 1:
        return group, first.train_nets
    net = first.net
    return group, [Classifier(net.backbone, net.adapter, net.prompts, wiring=group.wiring)]


def training_costs(trainings: Sequence[RunTraining], meter: cost.Meter) -> list[dict[str, float]]:
    """Return what each run took: its share of each step, and of the time between steps."""
    count = len(trainings)
    in_steps = [sum(training.step_seconds) for training in trainings]
    between = max(meter.train_seconds - sum(in_steps), 0.0) / count
    flops = meter.step_flops // count
    return [
        cost.Meter(own + between, training.step_seconds, meter.peak_bytes, flops).metrics()
        for training, own in zip(trainings, in_steps, strict=True)
    ]


def _count_first_step(meter: cost.Meter) -> StepHook:
    """Count the operations of the first step; the others run unchanged."""
    return lambda step, run: cost.count_operations(meter, run) if step == 0 else run()


def _report(rows: EpochRows, progress: Progress) -> None:
    """Report the mean of all runs as one row."""
    each = [row for row in rows.values() if isinstance(row, EpochRow)]
    if each:
        losses = [fmean(step) for step in zip(*(row.losses for row in each), strict=True)]
        accuracy = fmean(row.accuracy for row in each)
        progress(replace(each[0], losses=losses, accuracy=accuracy))


@contextmanager
def _evaluating(net: Classifier) -> Iterator[None]:
    """Use the adapter as after training, for a checkpoint within it."""
    net.adapter.eval()
    try:
        yield
    finally:
        net.adapter.train()
