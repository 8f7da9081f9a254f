"""The one training loop. Every method is trained by it, with the same data order for a seed.

It trains trials side by side, or one: the steps are the same, and so are the numbers.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from harness import plan as plans
from harness.batch import Batch
from harness.batches import Feeds
from harness.classifier import Classifier
from harness.crew import Crew, Trial
from harness.data import Images
from harness.plan import Plan
from harness.spec import TrainSpec
from harness.teacher import FrozenModel
from methods.kit.adapter import Step


class NonFiniteLoss(Exception):
    """The loss became NaN or infinite; says at which step."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(
            f"the loss is {value} at step {step}; lower train.lr or set train.clip_grad=1"
        )
        self.step = step


@dataclass(frozen=True)
class Row:
    """One epoch, in numbers. Of trials side by side, a step's seconds are the trial's share."""

    epoch: int
    epochs: int
    first_step: int
    losses: list[float]
    accuracy: float  # on the training batches of this epoch, per cent
    step_seconds: list[float] = field(repr=False)

    @property
    def loss(self) -> float:
        return sum(self.losses) / len(self.losses)


Outcome = tuple[Tensor, Tensor]  # (trials,) loss, right answers
StepHook = Callable[[int, Callable[[], Outcome]], Outcome]
Rows = dict[Trial, Row | NonFiniteLoss]


def steps_of(images: int, cfg: TrainSpec) -> int:
    """How many optimiser steps a training takes."""
    return cfg.epochs * math.ceil(images / cfg.batch_size)


def fit(
    net: Classifier,
    train: Images,
    cfg: TrainSpec,
    seed: int,
    around: StepHook | None = None,
    plan: Plan | None = None,
) -> Iterator[Row]:
    """Train ``net.adapter`` in place, yielding a row of numbers an epoch.

    Nothing is read back from the device inside a step; losses are checked once an epoch.
    ``around(step, run)`` may wrap a step, to count what it does. ``plan`` says what is computed
    once; without one it is made, with fresh augmentation. Raises NonFiniteLoss.
    """
    if not net.adapter.trained():
        return
    trial = Trial(net.adapter, cfg, seed, train)
    plan = plan or plans.make(net, train, cfg, seed)
    for rows in fit_all(net, Crew([trial]), plan, around):
        row = rows[trial]
        if isinstance(row, NonFiniteLoss):
            raise row
        yield row


def fit_all(
    net: Classifier, crew: Crew, plan: Plan, around: StepHook | None = None
) -> Iterator[Rows]:
    """Train a crew side by side, yielding the row of each living trial an epoch.

    All have the same number of training images, epochs, batch size and augmentation. Between two
    epochs trials may be taken out of the crew; one whose loss is not finite leaves it by itself.
    """
    cfg, feeds = crew.trials[0].cfg, Feeds(net, crew.trials, plan)
    size = feeds.size
    device = net.backbone.device
    total = steps_of(size, cfg)
    crew.train()
    net.text_stream(crew.bind(0, 0.0, device))  # not in the time of a step
    teacher = None
    if net.rig.needs_teacher:
        teacher = FrozenModel(net, feeds.sets, plan.looks_of("teacher"))
    step = 0
    for epoch in range(cfg.epochs):
        trials = crew.trials
        first, losses, hits, seconds = step, [], [], []
        for batch in feeds.epoch(epoch, trials):
            began = time.perf_counter()
            crew.optimizer.schedule(step, total)
            crew.advance(step / total, step)
            run = partial(train_step, net, crew, batch, step, step / total, teacher)
            loss, right = around(step, run) if around else run()
            losses.append(loss)
            hits.append(right)
            seconds.append((time.perf_counter() - began) / len(trials))
            step += 1
        values = torch.stack(losses, 1).tolist()  # (trials, steps)
        rights = torch.stack(hits).sum(0).tolist()
        if device.type == "cuda":  # the stack above waited for the whole epoch
            seconds = [sum(seconds) / len(seconds)] * len(seconds)
        rows: Rows = {}
        for trial, mine, right in zip(trials, values, rights, strict=True):
            row = Row(epoch, cfg.epochs, first, mine, 100 * right / size, seconds)
            rows[trial] = _finite(row) or row
        lost = [trial for trial, row in rows.items() if isinstance(row, NonFiniteLoss)]
        if lost:
            crew.keep([trial for trial in trials if trial not in lost])
        yield rows
        if not crew.trials:
            return
    crew.advance(1.0, step)
    crew.train(False)


def _finite(row: Row) -> NonFiniteLoss | None:
    for i, value in enumerate(row.losses):
        if not math.isfinite(value):
            return NonFiniteLoss(row.first_step + i + 1, value)
    return None


def train_step(
    net: Classifier,
    crew: Crew,
    batch: Batch,
    step: int = 0,
    progress: float = 0.0,
    teacher: FrozenModel | None = None,
) -> Outcome:
    """One optimiser step of all trials; losses and numbers of right answers, on the device."""
    bound = crew.bind(step, progress, net.backbone.device)
    own = batch.feeds is not None
    answer = net(batch.x, bound, own=own)
    loss = cross_entropy(answer.logits, batch.labels)
    frozen = teacher(batch, answer) if teacher else None
    again = net(batch.x, bound.again(), own=own).logits if net.rig.needs_again else None
    seen = Step(batch.labels, answer.image, answer.text, answer.logits, progress, frozen, again)
    extra = bound.penalty(seen)
    if extra is not None:
        loss = loss + extra
    total = backward(crew, loss, bound.penalties_alone(seen))
    crew.hand_over(bound.asleep)
    crew.optimizer.step()
    right = (answer.logits.detach().argmax(-1) == batch.labels).sum(-1)
    return total.detach().reshape(-1), right.reshape(-1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over images: a number, or (trials,) of logits (trials, n, classes)."""
    if logits.dim() == 2:
        return F.cross_entropy(logits, labels)
    labels = labels.expand(logits.shape[:2])
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return each.view(labels.shape).mean(1)


def backward(
    crew: Crew, loss: Tensor, alone: Sequence[tuple[slice, tuple[str, ...], Tensor]]
) -> Tensor:
    """Gradients of ``loss``, and of each term that stands alone for its own parameters.

    Returns the sum of all terms. One backward pass through the model for each; trials do not mix,
    so that the gradient of their sum is each one's own.
    """
    crew.clear()
    if not alone:
        loss.sum().backward()
        return loss
    taken: list[Tensor] = []
    terms = []
    for where, names, term in alone:
        mine = crew.buffers(where, names)
        taken += mine
        terms.append((mine, term))
    rest = [leaf.buffer for leaf in crew.leaves if not any(leaf.buffer is t for t in taken)]
    for buffers, term in [*terms, (rest, loss)]:
        if buffers and term.requires_grad:
            grads = torch.autograd.grad(term.sum(), buffers, retain_graph=True, allow_unused=True)
            for buffer, grad in zip(buffers, grads, strict=True):
                buffer.grad = grad
    total = loss.reshape(-1).clone()
    for where, _, term in alone:
        total[where] += term
    return total
