"""What a training computes once and caches, decided before its first step.

The sites that an adapter touches determine how far into each tower nothing can change. Activations
at that point are cached where they recur: always for the prompts, for the images if their
augmentation views are fixed. Where the budget has no room for all views, fewer are cached, or none,
and each step computes what is missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.data.augment import UNCHANGED, View
from harness.data.split import Images
from harness.model import flops, frozen_features, run_options
from harness.model.classifier import Classifier
from harness.model.prompt_packing import Packing, packing_for
from harness.model.tensor_cache import cache_budget, format_bytes
from harness.model.tower import Tower
from harness.spec.spec import TrainSpec


@dataclass(frozen=True)
class CachedPart:
    """Something to cache for some views of the images (text has one view)."""

    name: str  # text, image or teacher
    description: str
    view_bytes: int
    saves: float  # forward operations of an average step
    views: tuple[View, ...] = (UNCHANGED,)

    @property
    def bytes(self) -> int:
        return self.view_bytes * len(self.views)

    def cut(self, count: int) -> "CachedPart":
        """Return the part for the first views alone."""
        saves = self.saves * count / len(self.views)
        return replace(self, views=self.views[:count], saves=saves)


@dataclass(frozen=True)
class CachePlan:
    """What one data set's training caches.

    ``views`` are the fixed augmentation views that epochs take in turn; () if each draws its own.
    """

    views: tuple[View, ...]
    parts: tuple[CachedPart, ...]
    operations: int  # of a step's forward pass through the frozen model without a cache
    note: str  # why there is not more

    def view(self, epoch: int) -> View | None:
        """The view of an epoch; None for one that is drawn for this epoch alone."""
        return self.views[epoch % len(self.views)] if self.views else None

    def cached_views(self, name: str) -> tuple[View, ...]:
        """The views for which ``image`` or ``teacher`` is cached."""
        return next((part.views for part in self.parts if part.name == name), ())

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)

    @property
    def saved(self) -> float:
        """Per cent of a step's forward work."""
        return 100 * sum(part.saves for part in self.parts) / self.operations

    def sentence(self) -> str:
        """What is cached and what it saves, in one line."""
        if not self.parts:
            return f"cached: nothing ({self.note})"
        listed = ", ".join(self._listed(part) for part in self.parts)
        note = f" ({self.note})" if self.note else ""
        return f"cached: {listed}: saves {self.saved:.0f} % of a step's forward work{note}"

    def _listed(self, part: CachedPart) -> str:
        views = ""
        if part.name != "text" and self.views != (UNCHANGED,):
            count, total = len(part.views), len(self.views)
            views = f" x {total} views" if count == total else f" x {count} of {total} views"
        return f"{part.description}{views} ({format_bytes(part.bytes)})"


def cache_record(plans: Sequence[CachePlan]) -> tuple[dict[str, float], str]:
    """Return what is recorded of the plans of a run's tasks: metrics, and a sentence."""
    total, saved, sentence = plans[0].bytes, plans[0].saved, plans[0].sentence()
    if len(plans) > 1:
        total = sum(plan.bytes for plan in plans)
        operations = sum(plan.operations for plan in plans)
        saved = sum(plan.saved * plan.operations for plan in plans) / operations
        listed = f"{format_bytes(total)} of {len(plans)} tasks"
        if total:
            sentence = f"cached: {listed}: saves {saved:.0f} % of a step's forward work"
    return {"cache/bytes": total, "cache/saved_percent": saved}, sentence


def make_plan(
    net: Classifier,
    train: Images,
    cfg: TrainSpec,
    seed: int,
    views: int = 0,
    streams: int = 1,
    share: int = 1,
) -> CachePlan:
    """Return the plan of a training; ``views`` as in DataSpec.

    ``streams``: different sets of training images, of one size, that co-trained trials see.
    ``share``: plans that share the budget.
    """
    fixed = fixed_views(cfg, seed, views)
    image, text = net.backbone.image, net.backbone.text
    batch = flops.image_batch(image, min(cfg.batch_size, len(train)))
    forward = flops.forward_operations(image, batch)
    total = forward + flops.forward_operations(text, flops.prompt_batch(net.prompts, _packing(net)))
    if _teacher_sees_images(net):
        total += forward
    if not net.adapter.trained():
        return CachePlan(fixed, (), total, "nothing trains")
    left, parts, missing = cache_budget(net.backbone.device) // share, [], 0
    for whole in _candidates(net, train, fixed, batch, streams):
        part = whole.cut(min(len(whole.views), left // whole.view_bytes))
        missing += whole.bytes - part.bytes
        left -= part.bytes
        parts += [part] if part.views else []
    return CachePlan(fixed, tuple(parts), total, _note(net, fixed, missing))


def fixed_views(cfg: TrainSpec, seed: int, views: int) -> tuple[View, ...]:
    """Return the views of the training images that recur in later epochs or runs."""
    if cfg.augment == "none":
        return (UNCHANGED,)
    drawn = (cfg.crop_scale, cfg.crop_ratio, cfg.flip)
    return tuple(View(seed, k, *drawn) for k in range(min(views, cfg.epochs)))


def _candidates(
    net: Classifier, train: Images, views: tuple[View, ...], batch: flops.TokenBatch, streams: int
) -> Iterator[CachedPart]:
    """All that could be cached; what saves most for its bytes first."""
    backbone, image, n = net.backbone, net.backbone.image, len(train)
    if net.text_cacheable:
        point, packing = net.text_point, _packing(net)
        saves = _saved(backbone.text, flops.prompt_batch(net.prompts, packing), point)
        yield CachedPart("text", _describe(backbone.text, point), net.text_bytes(packing), saves)
    if not views:
        return
    if _teacher_sees_images(net):
        size = streams * frozen_features.activation_bytes(backbone, n, image.shape.depth + 1)
        saves = flops.forward_operations(image, batch)
        yield CachedPart("teacher", f"the teacher's features of {n} images", size, saves, views)
    point = net.image_point
    if point > 0:
        size = streams * frozen_features.activation_bytes(backbone, n, point)
        description = f"{_describe(image, point)} of {n} images"
        yield CachedPart("image", description, size, _saved(image, batch, point), views)


def _saved(tower: Tower, batch: flops.TokenBatch, point: int) -> int:
    """Forward operations before a point of a tower."""
    return flops.forward_operations(tower, batch) - flops.forward_operations(tower, batch, point)


def _note(net: Classifier, views: tuple[View, ...], missing: int) -> str:
    budget = run_options.current().cache
    if budget == "off":
        return "--cache off"
    if missing:
        return f"{format_bytes(missing)} more did not fit into --cache {budget}"
    if net.image_point > 0 and not views:
        return "images are augmented anew in each epoch; data.views=K would keep them too"
    if net.image_point <= 0 and net.text_point <= 0:
        return "the adapter acts from the first block on"
    return ""


def _describe(tower: Tower, point: int) -> str:
    name, depth = tower.shape.name, tower.shape.depth
    if point > depth:
        return f"{name} features"
    return f"{name} tokens before " + ("the head" if point == depth else f"block {point + 1}")


def _teacher_sees_images(net: Classifier) -> bool:
    return net.wiring.needs_teacher and net.image_trains


def _packing(net: Classifier) -> Packing | None:
    """The packing of the prompts in a training step."""
    return packing_for(net.prompts, net.wiring, training=True)
