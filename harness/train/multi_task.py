"""Training one adapter on several data sets at once, with a batch of one of them in each step.

Each data set is a task with its own class names, prompts and label space. The order in which tasks
take turns is keyed by (seed, epoch), and so are the batches of each.
"""

import math
import time
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.split import Images, Split
from harness.model.backbone import Backbone
from harness.model.classifier import Answer, Classifier
from harness.model.tensor_cache import format_bytes
from harness.model.tower import Prompts
from harness.spec.spec import TrainSpec
from harness.train import cache_plan, replay
from harness.train.batches import BatchStream
from harness.train.cache_plan import CachePlan
from harness.train.fit import EpochRow, NonFiniteLoss, step_count
from harness.train.step import StepHook, Stepper
from harness.train.task_affinity import GradientAffinity
from harness.train.teacher import FrozenTeacher
from harness.train.trial_group import Trial, TrialGroup
from methods.kit import Adapter, Task
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.binding.randomness import Noise, generator


class TaskClassifier(Classifier):
    """The classifier of one of several data sets.

    A head tells the classes of all of them apart; ``columns`` are those of this one.
    """

    def __init__(
        self, backbone: Backbone, adapter: Adapter, prompts: Prompts, task: int, columns: slice
    ) -> None:
        super().__init__(backbone, adapter, prompts)
        self.task = task
        self.columns = columns

    def __call__(
        self, x: Tensor, bound: BoundAdapter, text: Tensor | None = None, own: bool = False
    ) -> Answer:
        answer = super().__call__(x, bound, text, own)
        if answer.logits.shape[-1] == len(self.prompts):
            return answer
        return Answer(answer.image, answer.text, answer.logits[..., self.columns])


def prompts_of(backbone: Backbone, split: Split) -> list[Prompts]:
    """The prompts of each data set that is trained on."""
    return [backbone.prompts(images.templates, images.classnames) for images in split.trains]


def task_of(split: Split, prompts: list[Prompts]) -> Task:
    """What a method is attached for: the classes of all data sets, one set behind the other."""
    names = tuple(name for images in split.trains for name in images.classnames)
    longest = max(p.ids.shape[1] for p in prompts)
    tokens = torch.cat([F.pad(p.ids, (0, longest - p.ids.shape[1])) for p in prompts])
    several = tuple(images.name for images in split.trains) if len(split.trains) > 1 else ()
    return Task(names, split.template, tokens, tasks=several)


def course(net: Classifier, split: Split) -> "Course":
    """The tasks of a split around a classifier's adapter."""
    return Course(net.backbone, net.adapter, split)


class Course:
    """The tasks of a run that trains on several, around one adapter."""

    def __init__(self, backbone: Backbone, adapter: Adapter, split: Split) -> None:
        self.adapter = adapter
        self.device = backbone.device
        prompts = prompts_of(backbone, split)
        self.trains: Mapping[str, Images] = {images.name: images for images in split.trains}
        self.nets: dict[str, TaskClassifier] = {}
        start = 0
        for k, (name, own) in enumerate(zip(self.trains, prompts, strict=True)):
            columns = slice(start, start + len(own))
            self.nets[name] = TaskClassifier(backbone, adapter, own, k, columns)
            start = columns.stop
        self.affinity = GradientAffinity(adapter, len(self.trains), self.device)

    def plans(self, cfg: TrainSpec, seed: int, views: int) -> "Plans":
        """What is computed once for each task; they share the budget."""
        count = len(self.nets)
        return Plans(
            {
                name: cache_plan.make_plan(net, self.trains[name], cfg, seed, views, share=count)
                for name, net in self.nets.items()
            }
        )

    def fit(self, cfg: TrainSpec, seed: int, around: StepHook, plan: "Plans") -> Iterator[EpochRow]:
        """As harness.fit.fit, over all tasks. Raises NonFiniteLoss."""
        adapter = self.adapter
        if not adapter.trained():
            return
        lessons = [
            _Lesson(net, self.trains[name], cfg, seed, plan.each[name])
            for name, net in self.nets.items()
        ]
        adapter.train()
        crew = TrialGroup([Trial(adapter, cfg, seed)])
        take = Stepper(crew, around, replay.step_recorder(self.device), len(lessons))
        size = sum(len(images) for images in self.trains.values())
        total = sum(step_count(len(images), cfg) for images in self.trains.values())
        step = 0
        for epoch in range(cfg.epochs):
            first, losses, hits, seconds = step, [], [], []
            streams = [lesson.batches.epoch(epoch) for lesson in lessons]
            for k in task_order([lesson.steps for lesson in lessons], seed, epoch):
                lesson, batch = lessons[k], next(streams[k])
                began = time.perf_counter()
                crew.optimizer.schedule(step, total)
                adapter.set_tracked("task", k)
                crew.advance(step / total, step)
                loss, right = take(lesson.net, batch, step, step / total, lesson.teacher)
                losses.append(loss)
                hits.append(right)
                seconds.append(time.perf_counter() - began)
                self.affinity.see(k, crew.gradients())
                adapter.set_tracked("affinity", self.affinity.matrix())
                step += 1
            values = torch.cat(losses).tolist()
            if self.device.type == "cuda":  # the stack above waited for the whole epoch
                seconds = [sum(seconds) / len(seconds)] * len(seconds)
            for i, value in enumerate(values):
                if not math.isfinite(value):
                    raise NonFiniteLoss(first + i + 1, value)
            accuracy = 100 * torch.cat(hits).sum().item() / size
            yield EpochRow(epoch, cfg.epochs, first, values, accuracy, seconds, take.tags)
        adapter.advance(1.0, seed, step)
        adapter.eval()


def task_order(steps: list[int], seed: int, epoch: int) -> list[int]:
    """Which task each step of an epoch takes a batch of: each as often as it has batches."""
    each = torch.tensor([k for k, count in enumerate(steps) for _ in range(count)])
    order = torch.randperm(len(each), generator=generator(seed, "turns", epoch))
    found: list[int] = each[order].tolist()
    return found


class Plans:
    """The plans of several tasks as one."""

    def __init__(self, each: Mapping[str, CachePlan]) -> None:
        self.each = each

    @property
    def bytes(self) -> int:
        return sum(plan.bytes for plan in self.each.values())

    @property
    def saved(self) -> float:
        """Per cent of the forward work of a step of each task."""
        work = sum(plan.work for plan in self.each.values())
        return sum(plan.saved * plan.work for plan in self.each.values()) / work

    def sentence(self) -> str:
        """What is kept and what it saves, in one line."""
        if not self.bytes:
            return next(iter(self.each.values())).sentence()
        kept = f"{format_bytes(self.bytes)} of {len(self.each)} tasks"
        return f"cached: {kept}: saves {self.saved:.0f} % of a step's forward work"


class _Lesson:
    """What is needed of one task while it trains."""

    def __init__(
        self, net: TaskClassifier, train: Images, cfg: TrainSpec, seed: int, plan: CachePlan
    ) -> None:
        self.net = net
        self.batches = BatchStream(net, train, cfg, seed, plan)
        self.steps = math.ceil(len(train) / cfg.batch_size)
        adapter, device = net.adapter, net.backbone.device
        adapter.set_tracked("task", net.task)
        net.text_stream(adapter.bind(noise=Noise(seed, 0, device)))  # not in the time of a step
        self.teacher = None
        if adapter.wiring.needs_teacher:
            self.teacher = FrozenTeacher(net, [(train, seed)], plan.looks_of("teacher"))
