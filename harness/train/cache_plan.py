"""What a training computes once and keeps, decided before its first step.

From the sites an adapter touches follows how far into each tower nothing can change. What lies
before is kept where the same numbers are needed again: of the prompts always, of the images when
their looks are fixed. Where the budget has no room for all of it, fewer looks are kept, or none,
and each step computes what is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.data.augment import UNCHANGED, View
from harness.data.split import Images
from harness.model import flops, frozen_features
from harness.model.classifier import Classifier
from harness.model.prompt_packing import Packing
from harness.model.tensor_cache import format_bytes, shared_cache
from harness.model.tower import Tower, packing_for
from harness.spec.spec import TrainSpec


@dataclass(frozen=True)
class CachedPart:
    """Something to keep for some looks of the images (the text has one look)."""

    name: str
    what: str
    each: int  # bytes for one look
    saves: float  # forward operations of a mean step
    looks: tuple[View, ...] = (UNCHANGED,)

    @property
    def bytes(self) -> int:
        return self.each * len(self.looks)

    def cut(self, count: int) -> "CachedPart":
        """The same for the first looks alone."""
        return replace(self, looks=self.looks[:count], saves=self.saves * count / len(self.looks))


@dataclass(frozen=True)
class CachePlan:
    """``looks`` are the fixed views that epochs take in turn; () where each epoch draws its own."""

    looks: tuple[View, ...]
    parts: tuple[CachedPart, ...]
    work: int  # operations of a step's forward pass through the frozen model, nothing kept
    note: str  # why there is not more

    def look(self, epoch: int) -> View | None:
        """The view that an epoch sees; None for one that is drawn for this epoch alone."""
        return self.looks[epoch % len(self.looks)] if self.looks else None

    def looks_of(self, name: str) -> tuple[View, ...]:
        """The looks for which ``image`` or ``teacher`` is kept."""
        return next((part.looks for part in self.parts if part.name == name), ())

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)

    @property
    def saved(self) -> float:
        """Per cent of a step's forward work."""
        return 100 * sum(part.saves for part in self.parts) / self.work

    def sentence(self) -> str:
        """What is kept and what it saves, in one line."""
        if not self.parts:
            return f"cached: nothing ({self.note})"
        listed = ", ".join(self._listed(part) for part in self.parts)
        note = f" ({self.note})" if self.note else ""
        return f"cached: {listed}: saves {self.saved:.0f} % of a step's forward work{note}"

    def _listed(self, part: CachedPart) -> str:
        views = ""
        if part.name != "text" and self.looks != (UNCHANGED,):
            count, total = len(part.looks), len(self.looks)
            views = f" x {total} views" if count == total else f" x {count} of {total} views"
        return f"{part.what}{views} ({format_bytes(part.bytes)})"


def make_plan(
    net: Classifier,
    train: Images,
    cfg: TrainSpec,
    seed: int,
    views: int = 0,
    streams: int = 1,
    share: int = 1,
) -> CachePlan:
    """The plan of a training; ``views`` as in DataSpec; ``share`` trainings share the budget.

    Of trials side by side ``streams`` is how many different sets of training images they see, all
    of one size.
    """
    looks = fixed_views(cfg, seed, views)
    batch = flops.image_batch(net.backbone.image, min(cfg.batch_size, len(train)))
    forward = flops.forward_operations(net.backbone.image, batch)
    total = forward + flops.forward_operations(net.backbone.text, _prompts(net))
    if _caches_teacher(net):
        total += forward
    if not net.adapter.trained():
        return CachePlan(looks, (), total, "nothing trains")
    left, parts, short = shared_cache.budget(net.backbone.device) // share, [], 0
    for part in _candidates(net, train, looks, batch, streams):
        whole, part = part.bytes, part.cut(min(len(part.looks), left // part.each))
        short += whole - part.bytes
        left -= part.bytes
        parts += [part] if part.looks else []
    return CachePlan(looks, tuple(parts), total, _note(net, looks, short))


def fixed_views(cfg: TrainSpec, seed: int, views: int) -> tuple[View, ...]:
    """The looks of the training images that come again, in later epochs or runs."""
    if cfg.augment == "none":
        return (UNCHANGED,)
    drawn = (cfg.crop_scale, cfg.crop_ratio, cfg.flip)
    return tuple(View(seed, k, *drawn) for k in range(min(views, cfg.epochs)))


def _candidates(
    net: Classifier, train: Images, looks: tuple[View, ...], batch: flops.TokenBatch, streams: int
) -> Iterator[CachedPart]:
    """All that could be kept, what saves most for its bytes first."""
    image, text, n = net.backbone.image, net.backbone.text, len(train)
    if net.keeps_text:
        load = _prompts(net)
        saves = flops.forward_operations(text, load) - flops.forward_operations(
            text, load, net.text_point
        )
        yield CachedPart(
            "text", _describe(text, net.text_point), net.text_bytes(_packing(net)), saves
        )
    if not looks:
        return
    if _caches_teacher(net):
        each = streams * frozen_features.activation_bytes(net.backbone, n, image.shape.depth + 1)
        saves = flops.forward_operations(image, batch)
        yield CachedPart("teacher", f"the teacher's features of {n} images", each, saves, looks)
    if net.image_point > 0:
        each = streams * frozen_features.activation_bytes(net.backbone, n, net.image_point)
        saves = flops.forward_operations(image, batch) - flops.forward_operations(
            image, batch, net.image_point
        )
        yield CachedPart(
            "image", f"{_describe(image, net.image_point)} of {n} images", each, saves, looks
        )


def _note(net: Classifier, looks: tuple[View, ...], short: int) -> str:
    if shared_cache.word == "off":
        return "--cache off"
    if short:
        return f"{format_bytes(short)} more did not fit into --cache {shared_cache.word}"
    if net.image_point > 0 and not looks:
        return "images are augmented anew in each epoch; data.views=K would keep them too"
    if net.image_point <= 0 and net.text_point <= 0:
        return "the adapter acts from the first block on"
    return ""


def _describe(tower: Tower, point: int) -> str:
    name, depth = tower.shape.name, tower.shape.depth
    if point > depth:
        return f"{name} features"
    return f"{name} tokens before " + ("the head" if point == depth else f"block {point + 1}")


def _caches_teacher(net: Classifier) -> bool:
    return net.wiring.needs_teacher and net.image_trains


def _packing(net: Classifier) -> Packing | None:
    """How the prompts lie in a training step."""
    return packing_for(net.prompts, net.wiring, training=True)


def _prompts(net: Classifier) -> flops.TokenBatch:
    return flops.prompt_batch(net.prompts, _packing(net))
