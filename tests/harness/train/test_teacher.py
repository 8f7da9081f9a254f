"""The frozen model's outputs: equal to zero-shot, and computed as seldom as can be."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.data.split import Images
from harness.model.backbone import Backbone
from harness.model.classifier import Answer, Classifier
from harness.model.tensor_cache import shared_cache
from harness.model.tower import FROZEN, Tower
from harness.spec.spec import TrainSpec
from harness.train.fit import fit
from methods.adaring import AdaRing
from methods.clip_adapter import CLIPAdapter
from methods.kit import Method
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.contract.adapter import Adapter
from methods.kit.contract.method import Task
from methods.kit.contract.step import Step, Teacher
from methods.kit.core.clip import Clip
from methods.kit.parts import consistency
from tests.conftest import NAMES, TEMPLATE, task_of


@dataclass(frozen=True)
class Watching(Method):
    """A head that hands every step it is shown to somebody."""

    see: Callable[[Step], Any]
    tower: str = "image"

    def attach(self, clip: Clip, task: Task) -> Adapter:
        adapter = Adapter(clip)
        if self.tower == "image":
            shift = adapter.own("image.shift", nn.Parameter(torch.zeros(clip.image.width)))
            adapter.after(clip.image.block(0).site("mlp"), lambda x, y, s: y + s, shift)
        else:
            head = adapter.own("head.bias", nn.Parameter(torch.zeros(task.classes)))
            adapter.score(lambda i, t, s, b: s * i @ t.mT + b, head)
        adapter.penalise(lambda step: self.see(step) or step.logits.sum() * 0, teacher=True)
        return adapter


def steps_of(
    backbone: Backbone, images: Images, augment: str, tower: str = "image"
) -> tuple[list[Step], list[Tensor]]:
    """The steps that a penalty saw, and the pixels or features of each."""
    steps: list[Step] = []
    inputs: list[Tensor] = []
    adapter = Watching(steps.append, tower).attach(backbone.clip, task_of(backbone))
    net = Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))
    call = net.image

    def image(x: Tensor, bound: Any, own: bool = False) -> Tensor:
        if bound is not FROZEN:  # the teacher's own look at them
            inputs.append(x)
        return call(x, bound, own)

    net.image = image  # type: ignore[method-assign]
    cfg = TrainSpec(epochs=2, batch_size=3, augment=augment)  # type: ignore[arg-type]
    list(fit(net, images, cfg, seed=1))
    return steps, inputs


def zero_shot(backbone: Backbone, x: Tensor) -> Answer:
    adapter = Adapter(backbone.clip)
    net = Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))
    with torch.no_grad():
        return net(x, adapter.bind())


@pytest.mark.parametrize("augment", ["none", "crop_flip"])
@pytest.mark.parametrize("tower", ["image", "head"])
def test_it_says_what_zero_shot_says_of_the_same_images(
    augment: str, tower: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    steps, inputs = steps_of(backbone, images, augment, tower)
    assert len(steps) == len(inputs) == 2 * 3
    for step, x in zip(steps, inputs, strict=True):
        frozen, expected = step.teacher, zero_shot(backbone, x)
        assert frozen is not None
        assert not frozen.logits.requires_grad
        for mine, theirs in (
            (frozen.image, expected.image),
            (frozen.text, expected.text),
            (frozen.logits / 100, expected.logits / 100),
        ):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)
    first = steps[0].teacher
    assert first is not None
    assert first.image.requires_grad is False
    torch.testing.assert_close(first.image, steps[0].image.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("augment", "tower", "images_encoded"),
    [
        ("none", "image", 8),
        ("crop_flip", "image", 2 * 8),
        ("none", "head", 8),
        ("crop_flip", "head", 2 * 8),
    ],
)
def test_nothing_frozen_is_encoded_twice(
    augment: str,
    tower: str,
    images_encoded: int,
    tiny: dict[str, Backbone],
    images: Images,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone = tiny["flat"]
    encoded: dict[str, int] = {"image": 0, "text": 0}
    shared_cache.clear()
    run = Tower.__call__

    def counted(self: Tower, x: Any, bound: BoundAdapter = FROZEN) -> Tensor:
        if not bound.wiring.sites:
            encoded[self.shape.name] += len(x)
        return run(self, x, bound)

    monkeypatch.setattr(Tower, "__call__", counted)
    steps_of(backbone, images, augment, tower)
    assert encoded == {"image": images_encoded, "text": len(NAMES)}


def test_any_method_may_stay_near_the_frozen_model(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    distances = []
    for weight in (0.0, 30.0):
        torch.manual_seed(0)
        adapter = CLIPAdapter().attach(backbone.clip, task_of(backbone))
        consistency.penalise_inconsistency(adapter, consistency.Weights(logits=weight))
        net = Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))
        cfg = TrainSpec(lr=1e-2, epochs=20, batch_size=4, augment="none")
        list(fit(net, images, cfg, seed=1))
        with torch.no_grad():
            adapted = net(net.inputs(images), adapter.bind()).logits
        frozen = zero_shot(backbone, images.pixels).logits
        distances.append(float(consistency.divergence(adapted, frozen)))
    assert distances[1] < 0.5 * distances[0]


def test_a_step_has_no_teacher_when_nobody_asks(tiny: dict[str, Backbone], images: Images) -> None:
    backbone = tiny["flat"]
    seen: list[Teacher | None] = []
    adapter = AdaRing().attach(backbone.clip, task_of(backbone))
    adapter.penalise(lambda step: seen.append(step.teacher) or F.relu(step.logits).sum() * 0)
    net = Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))
    list(fit(net, images, TrainSpec(epochs=1, batch_size=8, augment="none"), seed=1))
    assert seen == [None]
