"""The training loop: one for every method, for single and co-trained trials, one task or several.

The data order depends on the seed alone, and so do the numbers: trials that are trained together
learn what each learns alone.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness.data.split import Images
from harness.model.classifier import Classifier
from harness.spec.spec import TrainSpec
from harness.train import cache_plan, replay
from harness.train.batches import GroupedStreams, epoch_batches
from harness.train.cache_plan import CachePlan
from harness.train.gradients import Outcome
from harness.train.step import StepHook, Stepper
from harness.train.teacher import FrozenTeacher
from harness.train.trial_group import Trial, TrialGroup

AfterStep = Callable[[int, TrialGroup], None]  # called with the task of each step


class NonFiniteLoss(Exception):
    """The loss became NaN or infinite at ``step``."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(
            f"the loss is {value} at step {step}; lower train.lr or set train.clip_grad=1"
        )
        self.step = step


@dataclass(frozen=True)
class EpochRow:
    """One epoch of one trial. Of co-trained trials, a step's seconds are the trial's share."""

    epoch: int
    epochs: int
    first_step: int
    losses: list[float]
    accuracy: float  # on the training batches of this epoch, in per cent
    step_seconds: list[float] = field(repr=False)
    tags: Mapping[str, str] = field(default_factory=dict)  # how the steps were computed

    @property
    def loss(self) -> float:
        return sum(self.losses) / len(self.losses)

    def non_finite(self) -> NonFiniteLoss | None:
        """The first loss that is not finite, if there is one."""
        for i, value in enumerate(self.losses):
            if not math.isfinite(value):
                return NonFiniteLoss(self.first_step + i + 1, value)
        return None


EpochRows = dict[Trial, EpochRow | NonFiniteLoss]


def fit(
    net: Classifier,
    train: Images,
    cfg: TrainSpec,
    seed: int,
    step_hook: StepHook | None = None,
    plan: CachePlan | None = None,
) -> Iterator[EpochRow]:
    """Train ``net.adapter`` in place on one data set, yielding a row per epoch.

    ``step_hook(step, run)`` may wrap each step. Without a ``plan`` one is made, with new
    augmentation in each epoch. Raises NonFiniteLoss.
    """
    plan = plan or cache_plan.make_plan(net, train, cfg, seed)
    yield from fit_trial([net], [plan], Trial(net.adapter, cfg, seed, (train,)), step_hook)


def fit_trial(
    nets: Sequence[Classifier],
    plans: Sequence[CachePlan],
    trial: Trial,
    step_hook: StepHook | None = None,
    after_step: AfterStep | None = None,
) -> Iterator[EpochRow]:
    """Train a single trial as :func:`fit_all` does. Raises NonFiniteLoss."""
    if not trial.adapter.trained():
        return
    for rows in fit_all(nets, plans, TrialGroup([trial]), step_hook, after_step):
        row = rows[trial]
        if isinstance(row, NonFiniteLoss):
            raise row
        yield row


def fit_all(
    nets: Sequence[Classifier],
    plans: Sequence[CachePlan],
    group: TrialGroup,
    step_hook: StepHook | None = None,
    after_step: AfterStep | None = None,
) -> Iterator[EpochRows]:
    """Train all trials of a group, yielding the row of each active trial per epoch.

    Each task has a classifier, a plan and the images ``Trial.data[task]``; each step takes a batch
    of one task. Trials have equally many images, epochs, batch size and augmentation. Between two
    epochs trials may be removed from the group; one whose loss is not finite is removed.
    """
    cfg, device = group.trials[0].cfg, nets[0].backbone.device
    tasks = [
        GroupedStreams(net, group.trials, plan, k)
        for k, (net, plan) in enumerate(zip(nets, plans, strict=True))
    ]
    group.train()
    teachers = [_prepare(*each, group) for each in zip(nets, plans, tasks, strict=True)]
    recorder = replay.step_recorder(device)
    stepper = Stepper(group, step_hook, recorder, len(tasks), after_step is not None)
    step, total = 0, cfg.epochs * sum(task.steps for task in tasks)
    for epoch in range(cfg.epochs):
        trials, log = group.trials, _EpochLog(epoch, cfg.epochs, step)
        for batch in epoch_batches(tasks, epoch, trials, device):
            began, task = time.perf_counter(), batch.task
            group.optimizer.schedule(step, total)
            group.select_task(task)
            group.advance(step / total, step)
            outcome = stepper(nets[task], batch, step, step / total, teachers[task])
            log.add(outcome, (time.perf_counter() - began) / len(trials))
            if after_step:
                after_step(task, group)
            step += 1
        rows = log.rows(trials, sum(task.images for task in tasks), stepper.tags)
        finite = [trial for trial in trials if isinstance(rows[trial], EpochRow)]
        if len(finite) < len(trials):
            group.retain(finite)
        yield rows
        if not group.trials:
            return
    group.advance(1.0, step)
    group.train(False)


def _prepare(
    net: Classifier, plan: CachePlan, task: GroupedStreams, group: TrialGroup
) -> FrozenTeacher | None:
    """Fill the cached text outside the time of a step, and return the task's teacher."""
    net.text_stream(group.bind(0, 0.0, net.backbone.device))
    if not net.wiring.needs_teacher:
        return None
    return FrozenTeacher(net, task.sets, plan.cached_views("teacher"))


@dataclass
class _EpochLog:
    """Losses, correct answers and times of an epoch; read from the device at its end."""

    epoch: int
    epochs: int
    first_step: int
    losses: list[Tensor] = field(default_factory=list)
    correct: list[Tensor] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome, seconds: float) -> None:
        loss, correct = outcome
        self.losses.append(loss)
        self.correct.append(correct)
        self.seconds.append(seconds)

    def rows(self, trials: Sequence[Trial], images: int, tags: Mapping[str, str]) -> EpochRows:
        losses = torch.stack(self.losses, 1).tolist()  # (trials, steps)
        correct = torch.stack(self.correct).sum(0).tolist()
        seconds = self.seconds
        if self.losses[0].is_cuda:  # the stack above waited for the whole epoch
            seconds = [sum(seconds) / len(seconds)] * len(seconds)
        rows: EpochRows = {}
        for trial, own, right in zip(trials, losses, correct, strict=True):
            accuracy = 100 * right / images
            row = EpochRow(self.epoch, self.epochs, self.first_step, own, accuracy, seconds, tags)
            rows[trial] = row.non_finite() or row
        return rows
