"""Which runs are trained side by side: decided from their specs, before an image is decoded.

Runs can share their steps when they have the same backbone, data set and batches of the same size,
and when what they draw does not depend on who else is there. Whether it pays is estimated from
operations and launches: work before the first touched block is done once for all that see the same
images, and small steps wait for launches more than for products. Where every block is touched and
batches are large, nothing is gained on a CPU, and runs stay alone.
"""

import json
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property

import torch

from harness.data import split
from harness.evaluate import parameters
from harness.model import backbone, flops
from harness.model.clip_layout import ClipLayout
from harness.model.flops import TokenBatch
from harness.model.frozen_features import last_frozen_point
from harness.model.tower import Tower, can_pool_early
from harness.spec.spec import Spec
from methods.kit.binding.wiring import Wiring
from methods.kit.core.errors import UsageError

FREE = ("optimizer", "lr", "weight_decay", "momentum", "warmup", "final_lr", "clip_grad")
MOST = 8  # side by side where nobody says how many; more gain little (docs/speed.md)
PAYS = 1.25  # the least estimated gain for which runs are put together
LAUNCH = 7e-6  # seconds of one operation without its work
RATES = {"cpu": 6e10, "cuda": 2e14}  # operations a second in products of such sizes
BLOCK, HEAD = 50, 60  # launches of a touched block, and of everything around the towers
TOKENS = 6  # of a prompt's own, about


Group = tuple[Spec, ...]  # runs to be trained side by side


@dataclass(frozen=True)
class StepCost:
    """What one step of a run takes: operations that others may share, its own, and launches."""

    spec: Spec
    wiring: Wiring
    parts: ClipLayout
    classes: int

    @cached_property
    def _towers(self) -> tuple[tuple[Tower, TokenBatch, int], ...]:
        image, text = (
            Tower(s, self.parts.clip.weights) for s in (self.parts.image, self.parts.text)
        )
        rows = self.classes * TOKENS
        loads = (
            flops.image_batch(image, self.spec.train.batch_size),
            TokenBatch(self.classes, 2 * TOKENS, rows),
        )
        return tuple(
            (tower, load, last_frozen_point(self.wiring, tower))
            for tower, load in zip((image, text), loads, strict=True)
        )

    @property
    def shared(self) -> float:
        """Operations before the first touched block of images that look new in each step."""
        if self.spec.train.augment == "none" or self.spec.data.views:
            return 0.0
        tower, load, point = self._towers[0]
        return flops.forward_operations(tower, load) - flops.forward_operations(tower, load, point)

    @property
    def own(self) -> float:
        """Forward and backward from the first touched block on."""
        return sum(
            2.0 * flops.forward_operations(t, load, point) for t, load, point in self._towers
        )

    @property
    def launches(self) -> int:
        touched = (t.shape.depth - max(point, 0) for t, _, point in self._towers)
        return HEAD + BLOCK * sum(max(blocks, 0) for blocks in touched)

    @property
    def layout(self) -> Hashable:
        """What the shapes of random masks depend on: together only where all have the same."""
        found = []
        for tower, _, _ in self._towers:
            name, last = tower.shape.name, tower.shape.depth - 1
            cut = can_pool_early(self.wiring, name, last)
            found.append((self.wiring.sees_sequences(name), self.wiring.draws_in(name), cut))
        return tuple(found)


def groups(specs: Sequence[Spec], word: str, workers: int, device: torch.device) -> list[Group]:
    """The runs in groups, in the order of their first. ``word`` is auto, off or a number.

    With ``auto`` at most eight side by side, where it pays and every worker still has a group; a
    number puts as many together as it says, wherever that is possible. Raises UsageError.
    """
    most = size_of(word)
    if most == 1 or len(specs) < 2:
        return [(spec,) for spec in specs]
    classes: dict[Hashable, list[StepCost]] = {}
    found: list[Group] = []
    outline = cache(backbone.backbone_outline)
    for spec in specs:
        step = _step(spec, outline(spec.backbone.name), split.check_data(spec))
        if step is None:
            found.append((spec,))
        else:
            classes.setdefault(_key(step), []).append(step)
    for steps in classes.values():
        for part in _streams(steps, device):
            found += _parts(part, most, workers, device)
    place = {spec: i for i, spec in enumerate(specs)}
    return sorted(found, key=lambda g: min(place[spec] for spec in g))


def group_size(spec: Spec, device: torch.device) -> int:
    """How many runs like this one ``auto`` puts together: 1 where it does not pay."""
    step = _step(spec, backbone.backbone_outline(spec.backbone.name), split.check_data(spec))
    return MOST if step and gain([step] * MOST, device) >= PAYS else 1


def size_of(word: str) -> int:
    """1 for ``off``, 0 for ``auto``, else the number. Raises UsageError."""
    if word in ("auto", "off"):
        return 0 if word == "auto" else 1
    if word.isdecimal() and int(word) >= 1:
        return int(word)
    raise UsageError(f"--cotrain {word!r}: expected auto, off, or how many side by side, such as 8")


def gain(steps: Sequence[StepCost], device: torch.device) -> float:
    """How many times faster side by side than one after another; an estimate."""
    rate = RATES["cuda" if device.type == "cuda" else "cpu"]

    def seconds(launches: float, operations: float) -> float:
        hidden, worked = LAUNCH * launches, operations / rate
        return max(hidden, worked) if device.type == "cuda" else hidden + worked

    apart = sum(seconds(s.launches, s.shared + s.own) for s in steps)
    feeds = len({s.spec.seed for s in steps})
    prefix = max(s.shared for s in steps) * (1 if feeds == 1 else len(steps))
    shapes = len({s.spec.method for s in steps})
    launches = max(s.launches for s in steps) * (1 + 0.5 * (shapes - 1))
    return apart / seconds(launches, prefix + sum(s.own for s in steps))


def _step(spec: Spec, parts: ClipLayout, classes: int) -> StepCost | None:
    if spec.method.start or spec.method.runs or spec.tasks:
        return None  # what hangs is known later, or data sets take turns
    adapter = parameters.attach_outline(spec.method, parts, classes)
    return StepCost(spec, adapter.wiring, parts, classes) if adapter.trained() else None


def _key(step: StepCost) -> Hashable:
    spec = step.spec
    train = {k: v for k, v in asdict(spec.train).items() if k not in FREE}
    same = [spec.protocol, asdict(spec.backbone), asdict(spec.data), train]
    return json.dumps(same, sort_keys=True), step.layout, step.classes


def _streams(steps: list[StepCost], device: torch.device) -> Iterator[list[StepCost]]:
    """All of them, or those of one seed, who see the same images: whichever gains more."""
    by_seed: dict[int, list[StepCost]] = {}
    for step in steps:
        by_seed.setdefault(step.spec.seed, []).append(step)
    apart = list(by_seed.values())
    each = max(gain(g[:MOST], device) for g in apart)
    if len(apart) > 1 and gain(steps[:MOST], device) >= each:
        yield steps
    else:
        yield from apart


def _parts(steps: list[StepCost], most: int, workers: int, device: torch.device) -> Iterator[Group]:
    """Groups of equal size."""
    size = most or min(MOST, math.ceil(len(steps) / workers))
    count = math.ceil(len(steps) / size)
    size = math.ceil(len(steps) / count)
    for start in range(0, len(steps), size):
        part = steps[start : start + size]
        if len(part) > 1 and (most or gain(part, device) >= PAYS):
            yield tuple(s.spec for s in part)
        else:
            yield from ((s.spec,) for s in part)
