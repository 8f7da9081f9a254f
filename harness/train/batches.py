"""Training batches in an order keyed by (seed, epoch): what is kept, or pixels augmented on the
device.

A step moves nothing to the device: pixels are there, an epoch's order and crops go at its start.
Images that do not fit there are read while the step before is computed (:func:`ahead`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    """Some of the training images: what the classifier reads, where they stand, how they look.

    Where trials see different images, the trials lead every tensor, and ``feeds`` says of each
    trial which of the different sets of training images it sees.
    """

    x: Tensor
    labels: Tensor
    rows: Tensor  # among the training images
    look: View | None = UNCHANGED
    feeds: tuple[int, ...] | None = None

    def __len__(self) -> int:
        """Images of one trial."""
        return self.labels.shape[-1]

    def part(self, start: int, stop: int) -> "Batch":
        """Some of its images."""
        axis, count = int(self.feeds is not None), stop - start
        x, labels, rows = (t.narrow(axis, start, count) for t in (self.x, self.labels, self.rows))
        return Batch(x, labels, rows, self.look, self.feeds)


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
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "order", epoch))
        look, device = self.plan.look(epoch), self.labels.device
        mine = look and look.of(self.seed)
        kept, warps = None, None
        if look is not None and look in self.plan.looks_of("image"):
            backbone = self.net.backbone
            kept = frozen_features.activations(
                backbone, self.train, self.net.image_point, mine or UNCHANGED
            )
        else:
            warps = self._warps(epoch, mine, order)
        parts = to_device(order, device).split(self.cfg.batch_size)
        drawn = [None] * len(parts) if warps is None else warps.split(self.cfg.batch_size)
        source = self.pixels if kept is None else kept
        for part, warp, read in zip(parts, drawn, pixel_batches(source, parts), strict=True):
            x = to_device(read, device)
            if warp is not None:
                x = augment.warp(self.net.backbone.transform.normalise(x), warp)
            yield Batch(x, self.labels[part], part, look)

    def _warps(self, epoch: int, look: View | None, order: Tensor) -> Tensor | None:
        """The crop of each image of an epoch, in its order; None without augmentation."""
        n, size, cfg = len(order), self.net.backbone.transform.size, self.cfg
        if look is None:
            rng = generator(self.seed, "augment", epoch)
            counts = [len(part) for part in order.split(self.cfg.batch_size)]
            how = (cfg.crop_scale, cfg.crop_ratio, cfg.flip)
            drawn = torch.cat([augment.draw_maps(k, size, rng, *how) for k in counts])
        else:
            fixed = look.warps(n, size)
            if fixed is None:
                return None
            drawn = fixed[order]
        return to_device(drawn, self.labels.device)


class GroupedStreams:
    """The batches of trials side by side, which see the same images or each its own."""

    def __init__(self, net: Classifier, trials: Sequence[Trial], plan: CachePlan) -> None:
        cfg = trials[0].cfg
        self.feeds = {
            trial.feed: BatchStream(net, trial.train, cfg, trial.seed, plan)
            for trial in trials
            if trial.train is not None
        }
        sizes = {len(feed.train) for feed in self.feeds.values()}
        assert len(sizes) == 1, "trials side by side have as many training images"
        self.size = sizes.pop()

    @property
    def sets(self) -> list[tuple[Images, int]]:
        """The different sets of training images, and the seeds that draw their looks."""
        return [(feed.train, feed.seed) for feed in self.feeds.values()]

    def epoch(self, epoch: int, trials: Sequence[Trial]) -> Iterator[Batch]:
        """The batches of an epoch for the trials that live."""
        device = next(iter(self.feeds.values())).labels.device
        return prefetch(self._made(epoch, trials), device)

    def _made(self, epoch: int, trials: Sequence[Trial]) -> Iterator[Batch]:
        places = {key: i for i, key in enumerate(self.feeds)}
        wanted = dict.fromkeys(trial.feed for trial in trials)
        if len(self.feeds) == 1:
            yield from self.feeds[next(iter(wanted))].epoch(epoch)
            return
        for each in zip(*(self.feeds[key].epoch(epoch) for key in wanted), strict=True):
            by_key = dict(zip(wanted, each, strict=True))
            mine = [by_key[trial.feed] for trial in trials]
            yield Batch(
                torch.stack([batch.x for batch in mine]),
                torch.stack([batch.labels for batch in mine]),
                torch.stack([batch.rows for batch in mine]),
                mine[0].look,
                tuple(places[trial.feed] for trial in trials),
            )


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device. What comes from the machine's memory goes through locked pages, which
    the GPU reads by itself while both go on."""
    if device.type != "cuda" or x.is_cuda:
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def prefetch(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches. On a GPU each is made when the step of the one before was launched, on a
    stream of its own: reading, moving and augmenting it hides behind that step."""
    if device.type != "cuda":
        yield from batches
        return
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))  # what batches are made of is there
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
