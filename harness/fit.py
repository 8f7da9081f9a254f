"""The one training loop. Every method is trained by it, with the same data order for a seed."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from harness import augment, features
from harness import plan as plans
from harness.augment import PLAIN, View
from harness.classifier import Classifier
from harness.data import Images
from harness.plan import Plan
from harness.spec import TrainSpec
from harness.teacher import FrozenModel
from methods.kit.adapter import Adapter, Step
from methods.kit.noise import Noise, generator


class NonFiniteLoss(Exception):
    """The loss became NaN or infinite; says at which step."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(
            f"the loss is {value} at step {step}; lower train.lr or set train.clip_grad=1"
        )
        self.step = step


@dataclass(frozen=True)
class Row:
    """One epoch, in numbers."""

    epoch: int
    epochs: int
    first_step: int
    losses: list[float]
    accuracy: float  # on the training batches of this epoch, per cent
    step_seconds: list[float] = field(repr=False)

    @property
    def loss(self) -> float:
        return sum(self.losses) / len(self.losses)


Outcome = tuple[Tensor, Tensor]  # loss, right answers
StepHook = Callable[[int, Callable[[], Outcome]], Outcome]


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
    adapter = net.adapter
    if not adapter.trained():
        return
    device = net.backbone.device
    adapter.train()
    optimizer = build_optimizer(net, cfg)
    base_rates = [group["lr"] for group in optimizer.param_groups]
    total = steps_of(len(train), cfg)
    plan = plan or plans.make(net, train, cfg, seed)
    net.text_stream(adapter.bind(noise=Noise(seed, 0, device)))  # not in the time of a step
    data = _Batches(net, train, cfg, seed, plan)
    teacher = None
    if adapter.needs_teacher:
        teacher = FrozenModel(net, train, plan.looks_of("teacher"))
    step = 0
    for epoch in range(cfg.epochs):
        first, losses, hits, seconds = step, [], [], []
        for batch in data.epoch(epoch):
            began = time.perf_counter()
            factor = schedule(step, total, cfg)
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * factor
            adapter.advance(step / total, seed, step)

            noise = Noise(seed, step, device, step / total)
            run = partial(
                train_step, net, batch, step / total, noise, optimizer, cfg.clip_grad, teacher
            )
            loss, right = around(step, run) if around else run()
            losses.append(loss)
            hits.append(right)
            seconds.append(time.perf_counter() - began)
            step += 1
        values = torch.stack(losses).tolist()
        if device.type == "cuda":  # the stack above waited for the whole epoch
            seconds = [sum(seconds) / len(seconds)] * len(seconds)
        for i, value in enumerate(values):
            if not math.isfinite(value):
                raise NonFiniteLoss(first + i + 1, value)
        accuracy = 100 * torch.stack(hits).sum().item() / len(train)
        yield Row(epoch, cfg.epochs, first, values, accuracy, seconds)
    adapter.advance(1.0, seed, step)
    adapter.eval()


@dataclass(frozen=True)
class Batch:
    """Some of the training images: what the classifier reads, where they stand, how they look."""

    x: Tensor
    labels: Tensor
    rows: Tensor  # among the training images
    look: View | None = PLAIN


def train_step(
    net: Classifier,
    batch: Batch,
    progress: float,
    noise: Noise,
    optimizer: torch.optim.Optimizer,
    clip_grad: float = 0.0,
    teacher: FrozenModel | None = None,
) -> Outcome:
    """One optimiser step; returns the loss and the number of right answers, on the device."""
    bound = net.adapter.bind(noise=noise)
    answer = net(batch.x, bound)
    loss = F.cross_entropy(answer.logits, batch.labels)
    frozen = teacher(batch.x, batch.rows, answer, batch.look) if teacher else None
    again = None
    if net.adapter.needs_again:
        again = net(batch.x, net.adapter.bind(noise=noise.again())).logits
    step = Step(batch.labels, answer.image, answer.text, answer.logits, progress, frozen, again)
    extra = bound.penalty(step)
    if extra is not None:
        loss = loss + extra
    optimizer.zero_grad(set_to_none=True)
    total = backward(net.adapter, loss, bound.penalties_alone(step))
    for name in bound.asleep:
        net.adapter.trained()[name].grad = None
    if clip_grad:
        torch.nn.utils.clip_grad_norm_(net.adapter.parameters(), clip_grad)
    optimizer.step()
    return total.detach(), (answer.logits.detach().argmax(-1) == batch.labels).sum()


def backward(adapter: Adapter, loss: Tensor, alone: list[tuple[tuple[str, ...], Tensor]]) -> Tensor:
    """Gradients of ``loss``, and of each term that stands alone for its own parameters.

    Returns the sum of all terms. One backward pass through the model for each.
    """
    if not alone:
        loss.backward()
        return loss
    owned = adapter.trained()
    taken = {name for names, _ in alone for name in names}
    rest = tuple(name for name in owned if name not in taken)
    for names, term in [*alone, (rest, loss)]:
        params = [owned[name] for name in names]
        if params and term.requires_grad:
            grads = torch.autograd.grad(term, params, retain_graph=True, allow_unused=True)
            for p, grad in zip(params, grads, strict=True):
                p.grad = grad
    return loss + torch.stack([term for _, term in alone]).sum()


def build_optimizer(net: Classifier, cfg: TrainSpec) -> torch.optim.Optimizer:
    """AdamW or SGD over the adapter's groups: weights decay, vectors do not."""
    groups = net.adapter.groups(cfg.lr, cfg.weight_decay)
    if cfg.optimizer == "adamw":
        return torch.optim.AdamW(groups, fused=True)
    return torch.optim.SGD(groups, lr=cfg.lr, momentum=cfg.momentum, fused=True)


def schedule(step: int, total: int, cfg: TrainSpec) -> float:
    """The factor on the learning rate: linear warm-up, then half a cosine to ``final_lr``."""
    warm = round(cfg.warmup * total)
    if step < warm:
        return (step + 1) / (warm + 1)
    done = (step - warm) / max(1, total - warm)
    return cfg.final_lr + (1 - cfg.final_lr) * 0.5 * (1 + math.cos(math.pi * done))


class _Batches:
    """Batches in an order keyed by (seed, epoch): what is kept, or pixels augmented on the device.

    A step moves nothing to the device: pixels are there, an epoch's order and crops go at its
    start.
    """

    def __init__(
        self, net: Classifier, train: Images, cfg: TrainSpec, seed: int, plan: Plan
    ) -> None:
        self.net = net
        self.train = train
        self.cfg = cfg
        self.seed = seed
        self.plan = plan
        self.labels = train.labels.to(net.backbone.device)

    @cached_property
    def pixels(self) -> Tensor:
        return self.train.pixels.to(self.labels.device)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "order", epoch))
        look, device = self.plan.look(epoch), self.labels.device
        kept, warps = None, None
        if look is not None and look in self.plan.looks_of("image"):
            backbone = self.net.backbone
            kept = features.activations(backbone, self.train, self.net.image_point, look)
        else:
            warps = self._warps(epoch, look, order)
        parts = order.to(device).split(self.cfg.batch_size)
        drawn = [None] * len(parts) if warps is None else warps.split(self.cfg.batch_size)
        for part, warp in zip(parts, drawn, strict=True):
            x = self.pixels[part] if kept is None else kept[part]
            if warp is not None:
                x = augment.warp(self.net.backbone.transform.normalise(x), warp)
            yield Batch(x, self.labels[part], part, look)

    def _warps(self, epoch: int, look: View | None, order: Tensor) -> Tensor | None:
        """The crop of each image of an epoch, in its order; None without augmentation."""
        n, size = len(order), self.train.pixels.shape[2:]
        if look is None:
            rng = generator(self.seed, "augment", epoch)
            counts = [len(part) for part in order.split(self.cfg.batch_size)]
            drawn = torch.cat([augment.draw(k, size, rng, self.cfg.crop_scale) for k in counts])
        else:
            fixed = look.warps(n, size)
            if fixed is None:
                return None
            drawn = fixed[order]
        return drawn.to(self.labels.device)
