"""Chooses which runs are co-trained, from their specs alone, before an image is decoded.

Runs can share steps if they have the same backbone, data set and batch size, and the same shapes of
random masks. Whether it pays is estimated from operations and launches: work before the first
touched block is done once for all runs that see the same images, and small steps wait for launches
more than for matrix products. With every block touched and large batches nothing is gained on a
CPU, and runs are trained alone.
"""

import json
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache

import torch

from harness.data import split
from harness.evaluate import parameters
from harness.model import flops
from harness.model.backbone import backbone_outline
from harness.model.clip_layout import ClipLayout
from harness.model.flops import TokenBatch
from harness.model.frozen_features import last_frozen_point
from harness.model.tower import Tower, can_pool_early
from harness.spec.spec import Spec
from methods.kit.core.errors import UsageError

FREE = ("optimizer", "lr", "weight_decay", "momentum", "warmup", "final_lr", "clip_grad")
MOST = 8  # the size of a group where nobody gives one; more gain little (docs/speed.md)
MIN_GAIN = 1.25  # the least estimated speed-up for which runs are grouped
LAUNCH = 7e-6  # seconds of one operation without its work
SPEED = {"cpu": 6e10, "cuda": 2e14}  # operations per second in products of such sizes
BLOCK, HEAD = 50, 60  # launches of a touched block, and of everything around the towers
TOKENS = 6  # of a class name, about

Group = tuple[Spec, ...]  # runs to be co-trained


@dataclass(frozen=True)
class StepCost:
    """The cost of one step of a run; only runs with the same ``key`` can share steps."""

    spec: Spec
    key: Hashable
    shared: float  # operations that runs with the same images can share
    own: float  # operations from the first touched block on, forward and backward
    launches: int


def step_cost(spec: Spec, layout: ClipLayout) -> StepCost | None:
    """Estimate the cost of a step; None for a run that must be trained alone."""
    if spec.method.start or spec.method.runs or spec.tasks:
        return None  # its wiring is known later, or data sets take turns
    classes = split.check_data(spec)
    adapter = parameters.attach_outline(spec.method, layout, classes)
    if not adapter.trained():
        return None
    wiring, shared, own, launches, masks = adapter.wiring, 0.0, 0.0, HEAD, []
    image, text = (Tower(shape, layout.clip.weights) for shape in (layout.image, layout.text))
    prompts = TokenBatch(classes, 2 * TOKENS, classes * TOKENS)
    for tower, batch in (
        (image, flops.image_batch(image, spec.train.batch_size)),
        (text, prompts),
    ):
        point, name = last_frozen_point(wiring, tower), tower.shape.name
        touched = flops.forward_operations(tower, batch, point)
        own += 2.0 * touched
        if tower is image and spec.train.augment != "none" and not spec.data.views:
            shared = flops.forward_operations(tower, batch) - touched
        launches += BLOCK * max(tower.shape.depth - max(point, 0), 0)
        pools_early = can_pool_early(wiring, name, tower.shape.depth - 1)
        masks.append((wiring.sees_sequences(name), wiring.draws_in(name), pools_early))
    train = {k: v for k, v in asdict(spec.train).items() if k not in FREE}
    same = [spec.protocol, asdict(spec.backbone), asdict(spec.data), train]
    key = json.dumps(same, sort_keys=True), tuple(masks), classes
    return StepCost(spec, key, shared, own, launches)


def groups(specs: Sequence[Spec], word: str, workers: int, device: torch.device) -> list[Group]:
    """Return the runs in groups, in the order of each group's first run.

    ``word`` is auto, off or a number: with auto groups have at most eight runs, where it pays and
    every worker still has a group; a number is the size wherever that is possible. Raises
    UsageError.
    """
    size = parse_size(word)
    if size == 1 or len(specs) < 2:
        return [(spec,) for spec in specs]
    by_key: dict[Hashable, list[StepCost]] = {}
    found: list[Group] = []
    outline = cache(backbone_outline)
    for spec in specs:
        cost = step_cost(spec, outline(spec.backbone.name))
        if cost is None:
            found.append((spec,))
        else:
            by_key.setdefault(cost.key, []).append(cost)
    for costs in by_key.values():
        for part in _by_stream(costs, device):
            found += _even_groups(part, size, workers, device)
    place = {spec: i for i, spec in enumerate(specs)}
    return sorted(found, key=lambda group: min(place[spec] for spec in group))


def auto_size(spec: Spec, device: torch.device) -> int:
    """Return the size of a group of runs like this one with ``auto``: 1 where it does not pay."""
    cost = step_cost(spec, backbone_outline(spec.backbone.name))
    return MOST if cost and gain([cost] * MOST, device) >= MIN_GAIN else 1


def parse_size(word: str) -> int:
    """Return 1 for ``off``, 0 for ``auto``, else the number. Raises UsageError."""
    if word in ("auto", "off"):
        return 0 if word == "auto" else 1
    if word.isdecimal() and int(word) >= 1:
        return int(word)
    raise UsageError(f"--cotrain {word!r}: expected auto, off, or the size of a group, such as 8")


def gain(costs: Sequence[StepCost], device: torch.device) -> float:
    """Estimate the speed-up of co-training over one run after another."""
    kind = "cuda" if device.type == "cuda" else "cpu"

    def seconds(launches: float, operations: float) -> float:
        waiting, working = LAUNCH * launches, operations / SPEED[kind]
        return max(waiting, working) if kind == "cuda" else waiting + working

    apart = sum(seconds(c.launches, c.shared + c.own) for c in costs)
    streams = len({c.spec.seed for c in costs})
    prefix = max(c.shared for c in costs) * (1 if streams == 1 else len(costs))
    stacks = len({c.spec.method for c in costs})
    launches = max(c.launches for c in costs) * (1 + 0.5 * (stacks - 1))
    return apart / seconds(launches, prefix + sum(c.own for c in costs))


def _by_stream(costs: list[StepCost], device: torch.device) -> Iterator[list[StepCost]]:
    """Yield all runs, or those of each seed (which see the same images), whichever gains more."""
    by_seed: dict[int, list[StepCost]] = {}
    for cost in costs:
        by_seed.setdefault(cost.spec.seed, []).append(cost)
    apart = list(by_seed.values())
    each = max(gain(part[:MOST], device) for part in apart)
    if len(apart) > 1 and gain(costs[:MOST], device) >= each:
        yield costs
    else:
        yield from apart


def _even_groups(
    costs: list[StepCost], size: int, workers: int, device: torch.device
) -> Iterator[Group]:
    most = size or min(MOST, math.ceil(len(costs) / workers))
    even = math.ceil(len(costs) / math.ceil(len(costs) / most))
    for start in range(0, len(costs), even):
        part = costs[start : start + even]
        if len(part) > 1 and (size or gain(part, device) >= MIN_GAIN):
            yield tuple(cost.spec for cost in part)
        else:
            yield from ((cost.spec,) for cost in part)
