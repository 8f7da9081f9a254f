"""The consistency penalties against torch's own losses and against two detached forward passes."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.augment import UNCHANGED
from harness.data.split import Images
from harness.model.backbone import Backbone
from harness.model.classifier import Classifier
from harness.spec.spec import TrainSpec
from harness.train.batches import Batch
from harness.train.fit import fit
from harness.train.gradients import train_step
from harness.train.teacher import FrozenTeacher
from harness.train.trial_group import Trial, TrialGroup
from methods.adaring import AdaRing
from methods.kit import Adapter, Step
from methods.kit.contract.step import Teacher
from methods.kit.parts import consistency
from methods.kit.parts.consistency import Weights
from tests.conftest import NAMES, TEMPLATE, task_of

TRAIN = TrainSpec(lr=1e-2, weight_decay=0.0, epochs=3, batch_size=4, augment="none")
TWO = AdaRing(form="adapter", ranks=((4, 3), (1, 2)), consistency_logits=2.0, consistency_image=3.0)
LOW = replace(TWO, consistency_on="low_rank")


def step_of(seed: int) -> Step:
    rng = torch.Generator().manual_seed(seed)
    image, theirs = (F.normalize(torch.randn(6, 5, generator=rng), dim=-1) for _ in range(2))
    text, other = (F.normalize(torch.randn(4, 5, generator=rng), dim=-1) for _ in range(2))
    frozen = Teacher(theirs, other, 10 * theirs @ other.T)
    return Step(torch.arange(6) % 4, image, text, 10 * image @ text.T, 0.5, frozen)


def attach(method: AdaRing, backbone: Backbone, seed: int = 0) -> Adapter:
    torch.manual_seed(seed)
    return method.attach(backbone.clip, task_of(backbone))


def net_of(backbone: Backbone, adapter: Adapter) -> Classifier:
    return Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))


def perturb(adapter: Adapter) -> Adapter:
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in adapter.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=rng))
    return adapter


def test_the_divergence_of_logits_is_torchs() -> None:
    step = step_of(0)
    assert step.teacher is not None
    expected = F.kl_div(
        F.log_softmax(step.logits, -1), F.softmax(step.teacher.logits, -1), reduction="batchmean"
    )
    found = consistency.penalty(step, Weights(logits=1.5), "cosine")
    torch.testing.assert_close(found, 1.5 * expected)


def test_distances_of_features_are_torchs() -> None:
    step = step_of(1)
    frozen = step.teacher
    assert frozen is not None
    cosine = 2 * F.cosine_embedding_loss(step.image, frozen.image, torch.ones(6))
    cosine = cosine + 3 * F.cosine_embedding_loss(step.text, frozen.text, torch.ones(4))
    weights = Weights(image=2, text=3)
    torch.testing.assert_close(consistency.penalty(step, weights, "cosine"), cosine)
    l1 = 2 * (step.image - frozen.image).abs().mean() + 3 * (step.text - frozen.text).abs().mean()
    torch.testing.assert_close(consistency.penalty(step, weights, "l1"), l1)


def test_the_terms_add_up() -> None:
    step = step_of(2)
    parts = [Weights(logits=1), Weights(image=1), Weights(text=1)]
    total = sum(consistency.penalty(step, w, "l1") for w in parts)
    assert isinstance(total, Tensor)
    torch.testing.assert_close(consistency.penalty(step, Weights(1, 1, 1), "l1"), total)


def test_without_weights_nothing_is_asked_of_the_frozen_model(
    tiny: dict[str, Backbone], images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny["flat"]
    adapter = attach(
        AdaRing(form="adapter", consistency_logits=0.0, consistency_distance="l1"), backbone
    )
    monkeypatch.setattr(FrozenTeacher, "__init__", lambda *a: pytest.fail("a teacher was made"))
    assert not adapter.wiring.needs_teacher
    list(fit(net_of(backbone, adapter), images, TRAIN, seed=1))
    plain = attach(AdaRing(form="adapter"), backbone)
    list(fit(net_of(backbone, plain), images, TRAIN, seed=1))
    assert all(torch.equal(v, plain.state()[k]) for k, v in adapter.state().items())


def test_a_strong_penalty_keeps_the_model_near_the_frozen_one(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    frozen = FrozenTeacher(net_of(backbone, Adapter(backbone.clip)), [(images, 1)], (UNCHANGED,))
    distances = []
    for weight in (0.0, 1.0, 100.0):
        adapter = attach(
            AdaRing(form="adapter", consistency_logits=weight, consistency_image=weight), backbone
        )
        net = net_of(backbone, adapter)
        list(fit(net, images, replace(TRAIN, epochs=10), seed=1))
        with torch.no_grad():
            answer = net(images.pixels, adapter.bind())
            teacher = frozen(batch_of(images), answer)
        distances.append(float(consistency.divergence(answer.logits, teacher.logits)))
    assert distances[0] > distances[1] > distances[2]


# --- the low rank under the penalty, the high rank under the task -----------------------------


def batch_of(images: Images) -> Batch:
    return Batch(images.pixels, images.labels, torch.arange(8))


def forward(net: Classifier, images: Images, detached: list[str]) -> tuple[Tensor, Tensor]:
    """(task loss, penalty) of a forward pass in which some parameters are constants."""
    adapter = net.adapter
    values = {n: v.detach() if n in detached else v for n, v in adapter.values().items()}
    answer = net(images.pixels, adapter.bind(values))
    teacher = FrozenTeacher(net, [(images, 1)], (UNCHANGED,))(batch_of(images), answer)
    step = Step(images.labels, answer.image, answer.text, answer.logits, 0.0, teacher)
    task = F.cross_entropy(answer.logits, images.labels)
    return task, consistency.penalty(step, Weights(2.0, 3.0), "cosine")


def test_gradients_are_those_of_two_forward_passes_with_detached_branches(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    adapter = perturb(attach(LOW, backbone))
    net = net_of(backbone, adapter)
    low = [name for name in adapter.trained() if ".1x2." in name]
    high = [name for name in adapter.trained() if ".4x3." in name]
    assert low
    assert set(low) | set(high) == set(adapter.trained())
    forward(net, images, low)[0].backward()
    forward(net, images, high)[1].backward()
    expected = {n: p.grad.clone() for n, p in adapter.trained().items() if p.grad is not None}
    group = TrialGroup([Trial(net.adapter, TRAIN)])
    batch = batch_of(images)
    teacher = FrozenTeacher(net, [(images, 1)], (UNCHANGED,))
    loss, _ = train_step(net, group, batch, 0, 0.0, teacher)
    assert set(expected) == set(adapter.trained())
    for name, grad in group.gradients().items():
        torch.testing.assert_close(grad, expected[name], atol=1e-6, rtol=1e-4)
    assert set(group.gradients()) == set(expected)
    assert float(loss) > 0


def test_the_reported_loss_is_the_sum_of_both_terms(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    losses = []
    for method in (TWO, LOW):
        net = net_of(backbone, perturb(attach(method, backbone)))
        batch = batch_of(images)
        teacher = FrozenTeacher(net, [(images, 1)], (UNCHANGED,))
        group = TrialGroup([Trial(net.adapter, TRAIN)])
        losses.append(train_step(net, group, batch, 0, 0.0, teacher)[0])
    torch.testing.assert_close(losses[0], losses[1])


def test_the_low_rank_moves_one_step_after_the_high_rank_and_then_all_of_it_does(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    adapter = attach(LOW, backbone)
    net = net_of(backbone, adapter)
    group = TrialGroup([Trial(net.adapter, replace(TRAIN, optimizer="sgd", lr=1.0))])
    teacher = FrozenTeacher(net, [(images, 1)], (UNCHANGED,))
    batch = batch_of(images)
    alive: dict[str, int] = {}
    for step in range(1, 4):
        train_step(net, group, batch, step, 0.0, teacher)
        for name, grad in group.gradients().items():
            if float(grad.abs().max()) > 1e-7:  # above rounding
                alive.setdefault(name, step)
    assert set(alive) == set(adapter.trained())
    assert alive["image.up.4x3.slices"] == 1
    assert alive["image.down.4x3.slices"] == 2
    assert alive["image.up.1x2.slices"] == 2
    assert alive["image.down.1x2.slices"] == 3


def test_only_what_trains_can_stand_alone(tiny: dict[str, Backbone]) -> None:
    adapter = attach(AdaRing(form="adapter"), tiny["flat"])
    with pytest.raises(ValueError, match=r"'image\.nothing' does not train"):
        adapter.penalise(lambda step: step.logits.sum(), exclusive=["image.nothing"])
