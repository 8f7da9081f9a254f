"""The training loop: one for every method, for single and co-trained trials, one task or several.

The data order depends on the seed alone, and so do the numbers: trials that are trained together
learn what each learns alone.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

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
    if not net.adapter.trained():
        return
    plan = plan or cache_plan.make_plan(net, train, cfg, seed)
    trial = Trial(net.adapter, cfg, seed, (train,))
    for rows in fit_all([net], [plan], TrialGroup([trial]), step_hook):
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
    images = sum(task.images for task in tasks)
    step, total = 0, cfg.epochs * sum(task.steps for task in tasks)
    for epoch in range(cfg.epochs):
        trials, outcomes, seconds = group.trials, list[Outcome](), list[float]()
        for batch in epoch_batches(tasks, epoch, trials, device):
            began, task = time.perf_counter(), batch.task
            group.optimizer.schedule(step, total)
            group.select_task(task)
            group.advance(step / total, step)
            outcomes.append(stepper(nets[task], batch, step, step / total, teachers[task]))
            seconds.append((time.perf_counter() - began) / len(trials))
            if after_step:
                after_step(task, group)
            step += 1
        numbers = _losses_and_accuracies(outcomes, images)
        if device.type == "cuda":  # reading the losses waited for the whole epoch
            seconds = [sum(seconds) / len(seconds)] * len(seconds)
        rows: EpochRows = {}
        for trial, losses, accuracy in zip(trials, *numbers, strict=True):
            first = step - len(losses)
            row = EpochRow(epoch, cfg.epochs, first, losses, accuracy, seconds, stepper.tags)
            rows[trial] = row.non_finite() or row
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


def _losses_and_accuracies(
    outcomes: Sequence[Outcome], images: int
) -> tuple[list[list[float]], list[float]]:
    """Read an epoch from the device: the losses (trials, steps), and accuracies in per cent."""
    losses, correct = zip(*outcomes, strict=True)
    counts = torch.stack(correct).sum(0).tolist()
    return torch.stack(losses, 1).tolist(), [100 * count / images for count in counts]
