"""The one training loop. Every method is trained by it, with the same data order for a seed.

It trains trials side by side, or one: the steps are the same, and so are the numbers.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

from harness.data.split import Images
from harness.model.classifier import Classifier
from harness.spec.spec import TrainSpec
from harness.train import cache_plan, replay
from harness.train.batches import GroupedStreams
from harness.train.cache_plan import CachePlan
from harness.train.step import StepHook, Stepper
from harness.train.teacher import FrozenTeacher
from harness.train.trial_group import Trial, TrialGroup


class NonFiniteLoss(Exception):
    """The loss became NaN or infinite; says at which step."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(
            f"the loss is {value} at step {step}; lower train.lr or set train.clip_grad=1"
        )
        self.step = step


@dataclass(frozen=True)
class EpochRow:
    """One epoch, in numbers. Of trials side by side, a step's seconds are the trial's share."""

    epoch: int
    epochs: int
    first_step: int
    losses: list[float]
    accuracy: float  # on the training batches of this epoch, per cent
    step_seconds: list[float] = field(repr=False)
    tags: Mapping[str, str] = field(default_factory=dict)  # how the steps were computed

    @property
    def loss(self) -> float:
        return sum(self.losses) / len(self.losses)


EpochRows = dict[Trial, EpochRow | NonFiniteLoss]


def step_count(images: int, cfg: TrainSpec) -> int:
    """How many optimiser steps a training takes."""
    return cfg.epochs * math.ceil(images / cfg.batch_size)


def fit(
    net: Classifier,
    train: Images,
    cfg: TrainSpec,
    seed: int,
    around: StepHook | None = None,
    plan: CachePlan | None = None,
) -> Iterator[EpochRow]:
    """Train ``net.adapter`` in place, yielding a row of numbers an epoch.

    Nothing is read back from the device inside a step; losses are checked once an epoch.
    ``around(step, run)`` may wrap a step, to count what it does. ``plan`` says what is computed
    once; without one it is made, with fresh augmentation. Raises NonFiniteLoss.
    """
    if not net.adapter.trained():
        return
    trial = Trial(net.adapter, cfg, seed, train)
    plan = plan or cache_plan.make_plan(net, train, cfg, seed)
    for rows in fit_all(net, TrialGroup([trial]), plan, around):
        row = rows[trial]
        if isinstance(row, NonFiniteLoss):
            raise row
        yield row


def fit_all(
    net: Classifier, crew: TrialGroup, plan: CachePlan, around: StepHook | None = None
) -> Iterator[EpochRows]:
    """Train a crew side by side, yielding the row of each living trial an epoch.

    All have the same number of training images, epochs, batch size and augmentation. Between two
    epochs trials may be taken out of the crew; one whose loss is not finite leaves it by itself.
    """
    cfg, feeds = crew.trials[0].cfg, GroupedStreams(net, crew.trials, plan)
    size = feeds.size
    device = net.backbone.device
    total = step_count(size, cfg)
    crew.train()
    net.text_stream(crew.bind(0, 0.0, device))  # not in the time of a step
    teacher = None
    if net.wiring.needs_teacher:
        teacher = FrozenTeacher(net, feeds.sets, plan.looks_of("teacher"))
    take, step = Stepper(crew, around, replay.step_recorder(device)), 0
    for epoch in range(cfg.epochs):
        trials = crew.trials
        first, losses, hits, seconds = step, [], [], []
        for batch in feeds.epoch(epoch, trials):
            began = time.perf_counter()
            crew.optimizer.schedule(step, total)
            crew.advance(step / total, step)
            loss, right = take(net, batch, step, step / total, teacher)
            losses.append(loss)
            hits.append(right)
            seconds.append((time.perf_counter() - began) / len(trials))
            step += 1
        values = torch.stack(losses, 1).tolist()  # (trials, steps)
        rights = torch.stack(hits).sum(0).tolist()
        if device.type == "cuda":  # the stack above waited for the whole epoch
            seconds = [sum(seconds) / len(seconds)] * len(seconds)
        rows: EpochRows = {}
        for trial, mine, right in zip(trials, values, rights, strict=True):
            row = EpochRow(epoch, cfg.epochs, first, mine, 100 * right / size, seconds, take.tags)
            rows[trial] = _first_non_finite(row) or row
        lost = [trial for trial, row in rows.items() if isinstance(row, NonFiniteLoss)]
        if lost:
            crew.keep([trial for trial in trials if trial not in lost])
        yield rows
        if not crew.trials:
            return
    crew.advance(1.0, step)
    crew.train(False)


def _first_non_finite(row: EpochRow) -> NonFiniteLoss | None:
    for i, value in enumerate(row.losses):
        if not math.isfinite(value):
            return NonFiniteLoss(row.first_step + i + 1, value)
    return None
