"""Training batches in an order keyed by (seed, epoch): what is kept, or pixels augmented on the
device.

A step moves nothing to the device: pixels are there, an epoch's order and crops go at its start.
Images that do not fit there are read while the step before is computed (harness/ahead.py).
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from harness import augment, features, pixels
from harness.ahead import ahead, moved
from harness.augment import PLAIN, View
from harness.batch import Batch
from harness.classifier import Classifier
from harness.crew import Trial
from harness.data import Images
from harness.plan import Plan
from harness.spec import TrainSpec
from methods.kit.noise import generator


class Feed:
    """The batches of one set of training images in the order of one seed."""

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
    def pixels(self) -> pixels.Pixels:
        return pixels.held(self.train.pixels, self.labels.device)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "order", epoch))
        look, device = self.plan.look(epoch), self.labels.device
        mine = look and look.of(self.seed)
        kept, warps = None, None
        if look is not None and look in self.plan.looks_of("image"):
            backbone = self.net.backbone
            kept = features.activations(backbone, self.train, self.net.image_point, mine or PLAIN)
        else:
            warps = self._warps(epoch, mine, order)
        parts = moved(order, device).split(self.cfg.batch_size)
        drawn = [None] * len(parts) if warps is None else warps.split(self.cfg.batch_size)
        source = self.pixels if kept is None else kept
        for part, warp, read in zip(parts, drawn, pixels.batches(source, parts), strict=True):
            x = moved(read, device)
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
            drawn = torch.cat([augment.draw(k, size, rng, *how) for k in counts])
        else:
            fixed = look.warps(n, size)
            if fixed is None:
                return None
            drawn = fixed[order]
        return moved(drawn, self.labels.device)


class Feeds:
    """The batches of trials side by side, which see the same images or each its own."""

    def __init__(self, net: Classifier, trials: Sequence[Trial], plan: Plan) -> None:
        cfg = trials[0].cfg
        self.feeds = {
            trial.feed: Feed(net, trial.train, cfg, trial.seed, plan)
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
        return ahead(self._made(epoch, trials), device)

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
