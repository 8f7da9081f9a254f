"""How time and memory of a training step grow with classes, shots, rank, trials and layers.

Each curve is one size after another in one process, in random order in every round, and its slope
is fitted to the logarithms of both: 1 means that twice the size takes twice the time.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from harness.data import decoded_rows
from harness.model.tensor_cache import shared_cache
from harness.run import prepare
from harness.run.execute import execute
from methods.lora import LoRA
from tests.benchmarks.ours import TEMPLATE, Trainer, attached, backbone, names
from tests.benchmarks.ours import pixels as random_pixels
from tests.benchmarks.reference_loop import spec_of
from tests.benchmarks.report import number
from tests.benchmarks.step_counts import held
from tests.benchmarks.whole_run import LORA
from tests.methods.adapter_values import stack

BATCH, CLASSES = 32, 10
CASES = {
    "classes": (10, 30, 100, 300, 1000),
    "shots": (1, 2, 4, 8, 16, 32, 64),
    "rank": (1, 4, 16, 64, 256),
    "trials": (1, 2, 4, 8, 16, 32, 64),
    "layers": (1, 2, 4, 8, 12),
}
ABOUT = {
    "classes": "a step of LoRA, 32 images",
    "shots": "a run of 5 epochs of LoRA on 10 classes, without its test",
    "rank": "a step of LoRA in the image tower of ViT-B/32, 4 images",
    "trials": "trials side by side in the last block of both towers, the rest kept, 8 images",
    "layers": "a step of LoRA in the upper blocks of the image tower, what lies below kept",
}


@dataclass(frozen=True)
class Curve:
    """``seconds`` and ``bytes`` (held for the backward pass) at each of ``sizes``."""

    name: str
    about: str
    sizes: list[int]
    seconds: list[float]
    bytes: list[int]

    @property
    def slope(self) -> float:
        return slope(self.sizes, self.seconds)


Point = tuple[Callable[[], object], int]  # the step, and the bytes that it holds


def measured(quick: bool) -> Iterator[Curve]:
    torch.set_num_threads(1)
    for name, sizes in CASES.items():
        chosen = sizes[:3] if quick else sizes
        points = [POINTS[name](size) for size in chosen]
        seconds = times([step for step, _ in points], 2 if quick else 5)
        curve = Curve(name, ABOUT[name], list(chosen), seconds, [held for _, held in points])
        print(f"{name}: slope {curve.slope:.2f}", [round(s, 4) for s in seconds], flush=True)
        yield curve


def times(steps: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Median seconds of processor time of each, rounds in random order."""
    took: list[list[float]] = [[] for _ in steps]
    for i in range(-1, rounds):
        for k in random.sample(range(len(steps)), len(steps)):
            began = time.process_time()
            steps[k]()
            if i >= 0:
                took[k].append(time.process_time() - began)
    return [statistics.median(each) for each in took]


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Of the logarithms, by least squares."""
    fitted = statistics.linear_regression(
        *([math.log(v) for v in each] for each in (sizes, values))
    )
    return fitted.slope


# --- what is done at a size -------------------------------------------------------------------


def _step(trainer: Trainer, batch: Any = None) -> Point:
    net, x = trainer.net, (batch or trainer.batch).x
    there = [*net.backbone.model.parameters(), *net.adapter.parameters(), x]
    size = held(lambda: net(x, net.adapter.bind()).logits, there)
    return (lambda: trainer.step(batch)), size


def classes(count: int) -> Point:
    return _step(Trainer(LoRA(4, dropout=0.0), backbone("embedded"), BATCH, count))


def rank(size: int) -> Point:
    method = LoRA(size, dropout=0.0, towers=("image",))
    return _step(Trainer(method, backbone("ViT-B-32-quickgelu"), 4, CLASSES))


def layers(count: int) -> Point:
    method = LoRA(4, dropout=0.0, towers=("image",), layers=f"top:{count}")
    trainer = Trainer(method, backbone("embedded"), BATCH, CLASSES)
    return _step(trainer, trainer.kept() if count < 12 else None)


def shots(count: int) -> Point:
    words = [w for w in LORA if "lr" not in w]
    spec = spec_of("fashion-mnist", CLASSES, *words, f"shots={count}", "train.epochs=5")

    def whole() -> None:
        decoded_rows._kept.clear()
        shared_cache.clear()
        execute(spec, test=False)

    net = prepare.attach(spec, backbone("embedded"), _split(spec))
    net.adapter.eval()
    method = replace(spec.method, dropout=0.0)  # type: ignore[type-var]
    images = min(BATCH, count * CLASSES)
    return whole, _step(Trainer(method, backbone("embedded"), images, CLASSES))[1]


def _split(spec: Any) -> Any:
    from harness.data import split

    return split.load_split(spec, backbone(spec.backbone.name).transform)


def trials(count: int) -> Point:
    model = backbone("embedded")
    adapters = [
        attached(LoRA(4, dropout=0.0, layers="top:1"), model, CLASSES) for _ in range(count)
    ]
    values = stack(adapters)
    params = [v for v in values.values() if v.requires_grad]
    x = model.transform.normalise(random_pixels(model, 8))
    labels = (torch.arange(8) % CLASSES).repeat(count)
    towers = ((model.image, x), (model.text, model.prompts(TEMPLATE, names(CLASSES))))
    with torch.no_grad():  # what lies below is the same for all
        like = adapters[0].bind(values, trials=count)
        below = [tower.begin(given, tower.shape.depth - 1, like) for tower, given in towers]

    def loss() -> torch.Tensor:
        bound = adapters[0].bind(values, trials=count)
        image, text = (
            F.normalize(tower.finish(stream, bound, tower.shape.depth - 1), dim=-1)
            for (tower, _), stream in zip(towers, below, strict=True)
        )
        logits = 100 * image @ text.mT
        return F.cross_entropy(logits.flatten(0, 1), labels, reduction="sum")

    def step() -> None:
        for p in params:
            p.grad = None
        loss().backward()

    return step, held(loss, [*model.model.parameters(), *params, *(s.x for s in below)])


POINTS: dict[str, Callable[[int], Point]] = {
    "classes": classes, "shots": shots, "rank": rank, "trials": trials, "layers": layers,
}  # fmt: skip


# --- in words and drawn -----------------------------------------------------------------------


def words(curves: Sequence[dict[str, Any]]) -> list[str]:
    """A line a curve: what it is, how it grows in all and at its end."""
    return [_line(Curve(**c)) for c in curves]


def _line(curve: Curve) -> str:
    sizes, seconds = curve.sizes, curve.seconds
    last = slope(sizes[-2:], seconds[-2:])
    first = f"{sizes[0]} to {sizes[-1]} {curve.name}"
    grown = (
        f"{sizes[-1] / sizes[0]:,.0f} times the size, {seconds[-1] / seconds[0]:.1f} times the time"
    )
    memory = f"{curve.bytes[-1] / curve.bytes[0]:.1f} times the bytes held for the backward pass"
    return (
        f"- **{curve.name}** ({curve.about}), {first}: {grown} and {memory};"
        f" the time grows with the power {curve.slope:.2f}, {_manner(curve.slope)},"
        f" and {last:.2f} at the end."
    )


def _manner(power: float) -> str:
    for most, manner in ((0.15, "hardly at all"), (0.6, "far slower than the size"),
                         (0.9, "slower than the size"), (1.1, "as the size")):  # fmt: skip
        if power < most:
            return manner
    return "faster than the size"


def draw(curves: Sequence[dict[str, Any]], path: Path) -> None:
    """Small multiples: time above, memory below, both axes logarithmic."""
    if not curves:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    found = [Curve(**c) for c in curves]
    figure, axes = plt.subplots(2, len(found), figsize=(3 * len(found), 5), squeeze=False)
    for column, curve in zip(axes.T, found, strict=True):
        parts = ((curve.seconds, 1000, "ms"), (curve.bytes, 1e-6, "MB held"))
        for axis, (values, scale, unit) in zip(column, parts, strict=True):
            scaled = [v * scale for v in values]
            axis.loglog(curve.sizes, scaled, "o-", color="#2b6cb0", lw=1.6, ms=4)
            start = min(scaled)
            axis.loglog(
                curve.sizes, [start * s / curve.sizes[0] for s in curve.sizes],
                ":", color="#999999", lw=1,
            )  # fmt: skip
            axis.set_ylim(start / 2, max(scaled) * 3)
            axis.set_xticks(curve.sizes, [str(s) for s in curve.sizes])
            middle = (min(scaled) * max(scaled)) ** 0.5
            axis.set_yticks(
                [min(scaled), middle, max(scaled)],
                [number(v) for v in (min(scaled), middle, max(scaled))],
            )
            axis.minorticks_off()
            axis.set_ylabel(unit)
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
            axis.set_title(f"{curve.name}: power {slope(curve.sizes, values):.2f}", fontsize=10)
        column[1].set_xlabel(curve.name)
    figure.suptitle("A training step (shots: a run) by size; dotted: in proportion", fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": ""})
    plt.close(figure)
