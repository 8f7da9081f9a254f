"""What every file in methods/ must keep, checked because the file exists."""

from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

import methods
from harness.data import decoded_rows, registry
from harness.data.split import Images
from harness.model.backbone import Backbone, load_backbone
from harness.model.classifier import Classifier
from harness.run import adapter_files
from harness.spec.spec import BackboneSpec, TrainSpec
from harness.train.fit import fit
from methods.kit import Adapter, Task
from tests.conftest import BUILDS, NAMES, TEMPLATE, task_of
from tests.method_variants import VARIANT_BUILDS, VARIANTS, method_of, start_of
from tests.methods.adapter_values import load_state, stack

every_method = pytest.mark.parametrize("name", methods.names())
every_case = pytest.mark.parametrize(
    ("name", "build"),
    [(name, build) for name in methods.names() for build in BUILDS]
    + [(name, build) for name in VARIANTS for build in VARIANT_BUILDS],
)

TRAIN = TrainSpec(lr=1e-2, weight_decay=0.0, epochs=3, batch_size=4, augment="none")


def attach(name: str, backbone: Backbone, seed: int = 0) -> Adapter:
    """The method with its defaults, or a variant of one, drawn from a seed."""
    torch.manual_seed(seed)
    method = method_of(name)
    task = replace(task_of(backbone), start=start_of(method, backbone.clip))
    return method.attach(backbone.clip, task)


def classifier(backbone: Backbone, adapter: Adapter) -> Classifier:
    return Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))


def patience(adapter: Adapter) -> int:
    """Times the usual steps: where every pass draws what takes part in it, each part sees few."""
    return 4 if adapter.wiring.draws else 1


def least_loss(net: Classifier, labels: Tensor) -> float:
    """The least loss that any image features can have: 0 where texts train too, else what frozen
    texts that are nearly the same allow, found on free unit vectors."""
    if net.text_trains:
        return 0.0
    text, scale = net.encode_frozen_text(), net.scale(net.adapter.bind()).detach()
    free = torch.nn.Parameter(text[labels].clone())
    optimizer = torch.optim.Adam([free], lr=0.03)
    for _ in range(600):
        loss = F.cross_entropy(scale * F.normalize(free, dim=-1) @ text.T, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def logits(backbone: Backbone, adapter: Adapter, images: Images) -> Tensor:
    with torch.no_grad():
        return classifier(backbone, adapter)(images.pixels, adapter.bind()).logits


def perturb(adapter: Adapter, seed: int = 1) -> Adapter:
    """Move everything that trains away from where it started, as training would."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in adapter.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=rng))
    return adapter


def open_clip_logits(model: torch.nn.Module, backbone: Backbone, images: Images) -> Tensor:
    """The logits of a plain open_clip model, by its own forward and its own tokenizer."""
    tokens = open_clip.SimpleTokenizer(context_length=16)([TEMPLATE.format(n) for n in NAMES])
    with torch.no_grad():
        found = model(backbone.transform.normalise(images.pixels), tokens)
    return found[2] * found[0] @ found[1].T


@every_case
def test_the_backbone_is_bit_for_bit_what_it_was_after_training(
    name: str, build: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny[build]
    before = {k: v.clone() for k, v in backbone.model.state_dict().items()}
    adapter = attach(name, backbone)
    start = {k: v.clone() for k, v in adapter.values().items()}
    list(fit(classifier(backbone, adapter), images, TRAIN, seed=1))
    after = backbone.model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert not any(p.requires_grad for p in backbone.model.parameters())
    moved = {k for k, v in adapter.values().items() if not torch.equal(v, start[k])}
    assert set(adapter.trained()) <= moved


@every_case
def test_without_the_adapter_the_model_is_zero_shot(
    name: str, build: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny[build]
    plain = open_clip_logits(backbone.model, backbone, images)
    list(fit(classifier(backbone, perturb(attach(name, backbone))), images, TRAIN, seed=1))
    frozen = logits(backbone, Adapter(backbone.clip), images)
    torch.testing.assert_close(frozen, plain, atol=1e-4, rtol=1e-5)


@every_case
def test_it_starts_as_the_frozen_model_exactly_when_it_says_so(
    name: str, build: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny[build]
    frozen = logits(backbone, Adapter(backbone.clip), images)
    adapted = logits(backbone, attach(name, backbone), images)
    same = bool(torch.allclose(frozen, adapted, atol=1e-5))
    assert same == method_of(name).identity


@every_case
def test_training_moves_the_logits(
    name: str, build: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny[build]
    adapter = attach(name, backbone)
    before = logits(backbone, adapter, images)
    list(fit(classifier(backbone, adapter), images, TRAIN, seed=1))
    moved = not torch.allclose(before, logits(backbone, adapter, images), atol=1e-3)
    assert moved == bool(adapter.trained())


@every_case
def test_a_saved_state_gives_the_same_logits(
    name: str, build: str, tiny: dict[str, Backbone], images: Images, tmp_path: Path
) -> None:
    backbone = tiny[build]
    adapter = perturb(attach(name, backbone))
    save_file(adapter.state(), tmp_path / "adapter.safetensors")
    other = attach(name, backbone, seed=9)
    load_state(other, load_file(tmp_path / "adapter.safetensors"))
    assert torch.equal(logits(backbone, adapter, images), logits(backbone, other, images))


@every_case
def test_folding_gives_a_plain_open_clip_model_with_the_same_logits(
    name: str, build: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny[build]
    adapter = perturb(attach(name, backbone))
    if not adapter.foldable:
        with pytest.raises(methods.UsageError, match="not foldable"):
            adapter_files.folded_model(backbone, adapter)
        return
    model = adapter_files.folded_model(backbone, adapter)
    plain = open_clip_logits(model, backbone, images)
    scale = plain.abs().max()
    adapted = logits(backbone, adapter, images)
    torch.testing.assert_close(adapted / scale, plain / scale, atol=1e-5, rtol=0)


@every_case
def test_gradients_reach_every_parameter_within_two_steps(
    name: str, build: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny[build]
    adapter = attach(name, backbone)
    net = classifier(backbone, adapter)
    reached: set[str] = set()
    for _ in range(2):
        adapter.zero_grad()
        loss = F.cross_entropy(net(images.pixels, adapter.bind()).logits, images.labels)
        if adapter.trained():
            loss.backward()
        for key, p in adapter.trained().items():
            if p.grad is not None and bool((p.grad != 0).any()):
                reached.add(key)
        with torch.no_grad():
            for p in adapter.parameters():
                p.add_(p.grad if p.grad is not None else 0, alpha=-1e-3)
    assert reached == set(adapter.trained())


@every_case
def test_trials_side_by_side_give_what_they_give_alone(
    name: str, build: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny[build]
    alone = [perturb(attach(name, backbone, seed=k), seed=k) for k in range(3)]
    if not alone[0].values():
        assert name == "zero_shot"
        return
    values = stack(alone)
    net = classifier(backbone, alone[0])
    together = net(images.pixels, alone[0].bind(values, trials=3)).logits
    labels = images.labels.expand(3, -1)
    loss = F.cross_entropy(together.flatten(0, 1), labels.flatten(), reduction="sum")
    loss.backward()
    for k, adapter in enumerate(alone):
        mine = classifier(backbone, adapter)(images.pixels, adapter.bind()).logits
        torch.testing.assert_close(together[k], mine, atol=2e-4, rtol=1e-4)
        F.cross_entropy(mine, images.labels, reduction="sum").backward()
        for key, p in adapter.trained().items():
            grad = values[key].grad
            assert grad is not None
            assert p.grad is not None
            scale = float(p.grad.abs().max()) + 1e-6
            torch.testing.assert_close(grad[k] / scale, p.grad / scale, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "build"),
    [(m, BUILDS[(i + k) % len(BUILDS)]) for i, m in enumerate(methods.names()) for k in range(2)],
)
def test_what_acts_inside_a_tower_learns_four_images_by_heart(
    name: str, build: str, tiny: dict[str, Backbone], images: Images
) -> None:
    """Each method on two builds, each build with several methods."""
    wrong = torch.tensor([1, 2, 3, 0])
    four = replace(images, pixels=images.pixels[:4], labels=wrong, ids=(0, 1, 2, 3), key="four")
    if not any(tower == "image" for tower, *_ in attach(name, tiny[build]).wiring.sites):
        return  # heads see features alone, whatever the build: the next test tries them
    for lr in (1e-2, 3e-2, 1e-3):
        adapter = attach(name, tiny[build])
        cfg = replace(TRAIN, epochs=80 * patience(adapter), lr=lr)
        net = classifier(tiny[build], adapter)
        goal = least_loss(net, wrong) + 0.1
        curve = list(fit(net, four, cfg, seed=1))
        if curve[-1].loss < goal:
            break
    assert curve[-1].loss < goal
    assert logits(tiny[build], adapter, four).argmax(-1).tolist() == wrong.tolist()


@every_method
def test_it_learns_four_images_with_wrong_labels_by_heart(name: str) -> None:
    backbone = load_backbone(BackboneSpec())
    table = registry.read_dataset("emoji-things")
    names = ("ambulance", "crown", "ladybug", "snake")
    rows = [table.classnames.index(n) for n in names]
    rows = [int((table.labels == label).nonzero()[0][0]) for label in rows]
    drawn = decoded_rows.decode_rows(table, backbone.transform, rows)
    wrong = torch.tensor([1, 2, 3, 0])
    four = Images("test", names, drawn, wrong, tuple(rows), "four emoji")
    prompts = backbone.prompts(table.template, names)
    for lr in (5e-3, 1e-3, 5e-2):  # one rate does not fit a ring, a whole model and a head
        torch.manual_seed(0)
        task = Task(names, table.template, prompts.ids)
        adapter = methods.find(name)().attach(backbone.clip, task)
        net = Classifier(backbone, adapter, prompts)
        curve = list(fit(net, four, replace(TRAIN, epochs=40, lr=lr), seed=1))
        if not curve or curve[-1].loss < 0.1:
            break
    if not adapter.trained():
        assert curve == []
        return
    assert curve[-1].loss < 0.1
    with torch.no_grad():
        assert net(drawn, adapter.bind()).logits.argmax(-1).tolist() == wrong.tolist()


@every_method
def test_its_fields_have_defaults_and_it_is_frozen(name: str) -> None:
    method = methods.find(name)()
    assert method == methods.find(name)()
    assert hash(method) == hash(methods.find(name)())
    with pytest.raises(AttributeError):
        method.anything = 1  # type: ignore[attr-defined]


@every_method
def test_its_docstring_names_a_source_and_its_file_is_short(name: str) -> None:
    path = Path(methods.__file__).parent / f"{name}.py"
    text = path.read_text()
    assert text.startswith('"""')
    assert methods.find(name).paper
    assert len(text.splitlines()) <= 200


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(methods.UsageError, match="did you mean 'adaring'"):
        methods.find("adarign")
