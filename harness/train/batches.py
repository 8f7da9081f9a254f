"""Training batches in an order keyed by (seed, epoch): cached activations, or augmented pixels.

Pixels, the order and the crops of an epoch are on the device before its first step. Images that do
not fit there are read while the previous step is computed (:func:`prefetch`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from harness.data import augment
from harness.data.augment import UNCHANGED, View
from harness.data.pixels import Pixels, held_images, pixel_batches
from harness.data.split import Images
from harness.model import frozen_features
from harness.model.classifier import Classifier
from harness.spec.spec import TrainSpec
from harness.train.cache_plan import CachePlan
from harness.train.trial_group import Trial
from methods.kit.binding.randomness import generator


@dataclass(frozen=True)
class Batch:
    """Some training images: classifier inputs, labels, and row numbers in the training set.

    If trials see different images, every tensor has a leading trial axis and ``streams`` holds the
    number of each trial's stream.
    """

    x: Tensor
    labels: Tensor
    rows: Tensor
    view: View | None = UNCHANGED
    streams: tuple[int, ...] | None = None
    task: int = 0

    def __len__(self) -> int:
        """Images of one trial."""
        return self.labels.shape[-1]

    def part(self, start: int, stop: int) -> "Batch":
        """Return the images ``start`` to ``stop`` of each trial."""
        axis, count = int(self.streams is not None), stop - start
        x, labels, rows = (t.narrow(axis, start, count) for t in (self.x, self.labels, self.rows))
        return replace(self, x=x, labels=labels, rows=rows)


class BatchStream:
    """The batches of one set of training images in the order of one seed."""

    def __init__(
        self, net: Classifier, train: Images, cfg: TrainSpec, seed: int, plan: CachePlan
    ) -> None:
        self.net = net
        self.train = train
        self.cfg = cfg
        self.seed = seed
        self.plan = plan
        self.labels = train.labels.to(net.backbone.device)

    @cached_property
    def pixels(self) -> Pixels:
        return held_images(self.train.pixels, self.labels.device)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        device, size = self.labels.device, self.cfg.batch_size
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "order", epoch))
        view = self.plan.view(epoch)
        own = view and view.of(self.seed)
        activations = self._activations(view, own)
        warps = self._warps(epoch, own, order) if activations is None else None
        source = self.pixels if activations is None else activations
        rows = to_device(order, device).split(size)
        crops = [None] * len(rows) if warps is None else warps.split(size)
        for part, crop, read in zip(rows, crops, pixel_batches(source, rows), strict=True):
            x = to_device(read, device)
            if crop is not None:
                x = augment.warp(self.net.backbone.transform.normalise(x), crop)
            yield Batch(x, self.labels[part], part, view, task=self.net.task)

    def _activations(self, view: View | None, own: View | None) -> Tensor | None:
        """The cached activations of all images in a view; None if they are not cached."""
        if view is None or view not in self.plan.cached_views("image"):
            return None
        backbone, point = self.net.backbone, self.net.image_point
        return frozen_features.activations(backbone, self.train, point, own or UNCHANGED)

    def _warps(self, epoch: int, view: View | None, order: Tensor) -> Tensor | None:
        """The crops of an epoch's images, in their order; None without augmentation."""
        n, size, cfg = len(order), self.net.backbone.transform.size, self.cfg
        if view is None:
            rng = generator(self.seed, "augment", epoch)
            counts = [len(part) for part in order.split(cfg.batch_size)]
            how = (cfg.crop_scale, cfg.crop_ratio, cfg.flip)
            drawn = torch.cat([augment.draw_maps(k, size, rng, *how) for k in counts])
        else:
            fixed = view.warps(n, size)
            if fixed is None:
                return None
            drawn = fixed[order]
        return to_device(drawn, self.labels.device)


class GroupedStreams:
    """The batches of one task for all trials, which see the same images or each its own."""

    def __init__(
        self, net: Classifier, trials: Sequence[Trial], plan: CachePlan, task: int = 0
    ) -> None:
        cfg = trials[0].cfg
        self.streams = {
            trial.stream_key: BatchStream(net, trial.data[task], cfg, trial.seed, plan)
            for trial in trials
        }
        sizes = {len(stream.train) for stream in self.streams.values()}
        assert len(sizes) == 1, "co-trained trials have equally many training images"
        self.images = sizes.pop()
        self.steps = math.ceil(self.images / cfg.batch_size)

    @property
    def sets(self) -> list[tuple[Images, int]]:
        """The different sets of training images, and the seeds of their views."""
        return [(stream.train, stream.seed) for stream in self.streams.values()]

    def epoch(self, epoch: int, trials: Sequence[Trial]) -> Iterator[Batch]:
        """The batches of an epoch for the active trials."""
        keys = list(self.streams)
        active = dict.fromkeys(trial.stream_key for trial in trials)
        if len(keys) == 1:
            yield from self.streams[keys[0]].epoch(epoch)
            return
        for batches in zip(*(self.streams[key].epoch(epoch) for key in active), strict=True):
            by_key = dict(zip(active, batches, strict=True))
            each = [by_key[trial.stream_key] for trial in trials]
            yield replace(
                each[0],
                x=torch.stack([batch.x for batch in each]),
                labels=torch.stack([batch.labels for batch in each]),
                rows=torch.stack([batch.rows for batch in each]),
                streams=tuple(keys.index(trial.stream_key) for trial in trials),
            )


def epoch_batches(
    tasks: Sequence[GroupedStreams], epoch: int, trials: Sequence[Trial], device: torch.device
) -> Iterator[Batch]:
    """The batches of an epoch of all tasks, which take turns."""
    streams = [task.epoch(epoch, trials) for task in tasks]
    order = task_order([task.steps for task in tasks], trials[0].seed, epoch)
    return prefetch((next(streams[task]) for task in order), device)


def task_order(steps: Sequence[int], seed: int, epoch: int) -> list[int]:
    """Return the task of each step of an epoch: each task as often as it has batches."""
    tasks = torch.tensor([k for k, count in enumerate(steps) for _ in range(count)])
    order = torch.randperm(len(tasks), generator=generator(seed, "turns", epoch))
    return [int(task) for task in tasks[order]]


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device. From host memory it goes through pinned memory, so that the GPU
    copies it while both sides continue."""
    if device.type != "cuda" or x.is_cuda:
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def prefetch(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield the same batches. On a GPU each is made on a stream of its own once the previous step
    is launched, so that reading, copying and augmenting overlap with that step."""
    if device.type != "cuda":
        yield from batches
        return
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))  # the sources of the batches are ready
    while True:
        with torch.cuda.stream(side):
            batch = next(batches, None)
        if batch is None:
            return
        now = torch.cuda.current_stream(device)
        now.wait_stream(side)
        for tensor in (batch.x, batch.labels, batch.rows):
            tensor.record_stream(now)
        yield batch
