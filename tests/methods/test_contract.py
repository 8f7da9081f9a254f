"""The contract that every file in methods/ keeps, checked because the file exists."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

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
from harness.spec.spec import BackboneSpec
from methods.kit import Adapter, Task, UsageError
from methods.kit.ring import initialise
from methods.kit.ring.decompose import Decomposition, decompose
from tests.conftest import BUILDS
from tests.method_variants import VARIANT_BUILDS, VARIANTS
from tests.methods.adapter_values import load_state, stack
from tests.methods.conformance import TRAIN, WRONG, Case, learns, least_loss, open_clip_logits
from tests.methods.folded_model import folded_model

every_method = pytest.mark.parametrize("name", methods.names())
CASES = [(name, build) for name in methods.names() for build in BUILDS]
CASES += [(name, build) for name in VARIANTS for build in VARIANT_BUILDS]


@pytest.fixture(scope="module", autouse=True)
def decompositions() -> Iterator[None]:
    """Each stack that a variant starts from is decomposed once: it takes seconds."""
    known: dict[bytes, Decomposition] = {}

    def once(stack: Tensor, *sizes: object, **settings: object) -> Decomposition:
        key = repr((stack.shape, sizes, settings)).encode() + stack.numpy().tobytes()
        if key not in known:
            known[key] = decompose(stack, *sizes, **settings)  # type: ignore[arg-type]
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initialise, "decompose", once)
        yield


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest, tiny: dict[str, Backbone], images: Images) -> Case:
    name, build = request.param
    return Case(name, tiny[build], images)


def test_the_backbone_is_bit_for_bit_what_it_was_after_training(case: Case) -> None:
    run, after = case.training, case.backbone.model.state_dict()
    assert all(torch.equal(value, after[k]) for k, value in run.backbone_before.items())
    assert not any(p.requires_grad for p in case.backbone.model.parameters())
    values = run.adapter.values()
    moved = {k for k, v in values.items() if not torch.equal(v, run.values_before[k])}
    assert set(run.adapter.trained()) <= moved


def test_without_the_adapter_the_model_is_zero_shot(case: Case) -> None:
    assert case.training  # nothing of it is left
    plain = open_clip_logits(case.backbone.model, case.backbone, case.images)
    frozen = case.logits(Adapter(case.backbone.clip))
    torch.testing.assert_close(frozen, plain, atol=1e-4, rtol=1e-5)


def test_it_starts_as_the_frozen_model_exactly_when_it_says_so(case: Case) -> None:
    frozen = case.logits(Adapter(case.backbone.clip))
    same = bool(torch.allclose(frozen, case.training.logits_before, atol=1e-5))
    assert same == case.method.identity


def test_training_moves_the_logits(case: Case) -> None:
    run = case.training
    moved = not torch.allclose(run.logits_before, case.logits(run.adapter), atol=1e-3)
    assert moved == bool(run.adapter.trained())


def test_a_saved_state_gives_the_same_logits(case: Case, tmp_path: Path) -> None:
    save_file(case.moved[0].state(), tmp_path / "adapter.safetensors")
    other = case.attach(seed=9)
    load_state(other, load_file(tmp_path / "adapter.safetensors"))
    assert torch.equal(case.moved_logits, case.logits(other))


def test_folding_gives_a_plain_open_clip_model_with_the_same_logits(case: Case) -> None:
    adapter = case.moved[0]
    if not adapter.foldable:
        with pytest.raises(UsageError, match="not foldable"):
            folded_model(case.backbone, adapter)
        return
    model = folded_model(case.backbone, adapter)
    plain = open_clip_logits(model, case.backbone, case.images)
    scale = plain.abs().max()
    torch.testing.assert_close(case.moved_logits / scale, plain / scale, atol=1e-5, rtol=0)


def test_gradients_reach_every_parameter_within_two_steps(case: Case) -> None:
    adapter = case.attach()
    net, reached = case.classifier(adapter), set()
    for _ in range(2):
        adapter.zero_grad()
        loss = F.cross_entropy(net(case.images.pixels, adapter.bind()).logits, case.images.labels)
        if adapter.trained():
            loss.backward()
        for key, p in adapter.trained().items():
            if p.grad is not None and bool((p.grad != 0).any()):
                reached.add(key)
        with torch.no_grad():
            for p in adapter.parameters():
                p.add_(p.grad if p.grad is not None else 0, alpha=-1e-3)
    assert reached == set(adapter.trained())


def test_trials_side_by_side_give_what_they_give_alone(case: Case) -> None:
    adapters = case.moved
    if not adapters[0].values():
        assert case.name == "zero_shot"
        return
    values, count = stack(adapters), len(adapters)
    net, x, labels = case.classifier(adapters[0]), case.images.pixels, case.images.labels
    together = net(x, adapters[0].bind(values, trials=count)).logits
    loss = F.cross_entropy(together.flatten(0, 1), labels.repeat(count), reduction="sum")
    loss.backward()
    for k, adapter in enumerate(adapters):
        adapter.zero_grad()
        alone = case.classifier(adapter)(x, adapter.bind()).logits
        torch.testing.assert_close(together[k], alone, atol=2e-4, rtol=1e-4)
        F.cross_entropy(alone, labels, reduction="sum").backward()
        for key, p in adapter.trained().items():
            grad = values[key].grad
            assert grad is not None
            assert p.grad is not None
            scale = float(p.grad.abs().max()) + 1e-6
            torch.testing.assert_close(grad[k] / scale, p.grad / scale, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "build"), [(m, BUILDS[i % len(BUILDS)]) for i, m in enumerate(methods.names())]
)
def test_what_acts_inside_a_tower_learns_four_images_by_heart(
    name: str, build: str, tiny: dict[str, Backbone], images: Images
) -> None:
    """Each method on one build, each build with several methods."""
    four = replace(images, pixels=images.pixels[:4], labels=WRONG, ids=(0, 1, 2, 3), key="four")
    case = Case(name, tiny[build], four)
    if not any(key[0] == "image" for key in case.attach().wiring.sites):
        return  # heads see features alone, whatever the build: the next test tries them
    for lr in (1e-2, 3e-2, 1e-3):
        adapter = case.attach()
        # where every pass draws what takes part in it, each part sees few steps
        cfg = replace(TRAIN, epochs=320 if adapter.wiring.draws else 80, lr=lr)
        net = case.classifier(adapter)
        if learns(net, four, cfg, least_loss(net, WRONG) + 0.1):
            return
    pytest.fail("no learning rate brings the loss down")


@every_method
def test_it_learns_four_images_with_wrong_labels_by_heart(name: str) -> None:
    backbone = load_backbone(BackboneSpec())
    table = registry.read_dataset("emoji-things")
    names = ("ambulance", "crown", "ladybug", "snake")
    rows = [table.classnames.index(n) for n in names]
    rows = [int((table.labels == label).nonzero()[0][0]) for label in rows]
    drawn = decoded_rows.decode_rows(table, backbone.transform, rows)
    four = Images("test", names, drawn, WRONG, tuple(rows), "four emoji")
    prompts = backbone.prompts(table.template, names)
    for lr in (5e-3, 1e-3, 5e-2):  # one learning rate does not fit a ring, a model and a head
        torch.manual_seed(0)
        task = Task(names, table.template, prompts.ids)
        adapter = methods.find(name)().attach(backbone.clip, task)
        cfg = replace(TRAIN, epochs=40, lr=lr)
        learned = learns(Classifier(backbone, adapter, prompts), four, cfg, goal=0.1)
        if learned or not adapter.trained():
            break
    assert learned == bool(adapter.trained())


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
    with pytest.raises(UsageError, match="did you mean 'adaring'"):
        methods.find("adarign")
