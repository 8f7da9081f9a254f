"""VTAGML: what is told of the task, its parts by their formulas, its count."""

from dataclasses import replace

import pytest
import torch

from harness.data.split import Images
from harness.evaluate.parameters import outline_counts
from harness.model.attention import attend
from harness.model.backbone import Backbone
from harness.model.classifier import Classifier
from methods.adaring import AdaRing
from methods.kit import Adapter, Method
from methods.vtagml import VTAGML
from tests.conftest import NAMES, TEMPLATE, task_of
from tests.methods.adapter_values import load_state
from tests.methods.test_parameter_counts import trainable

TASKS = ("one", "two", "three")


def attached(backbone: Backbone, method: Method) -> Adapter:
    torch.manual_seed(0)
    return method.attach(backbone.clip, replace(task_of(backbone), tasks=TASKS))


def moved(adapter: Adapter) -> Adapter:
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in adapter.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng))
    return adapter


def logits(backbone: Backbone, adapter: Adapter, images: Images, task: int) -> torch.Tensor:
    adapter.set_tracked("task", task)
    net = Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))
    with torch.no_grad():
        return net(images.pixels, adapter.bind()).logits


GATES = AdaRing(ranks=((1, 4), (2, 8)), combine="task_gate")


@pytest.mark.parametrize("method", [VTAGML(), GATES], ids=["vtagml", "gates"])
def test_a_task_has_its_own_model_and_which_it_is_is_not_saved(
    method: Method, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone, adapter = tiny["flat"], moved(attached(tiny["flat"], method))
    found = [logits(backbone, adapter, images, k) for k in range(3)]
    assert not torch.allclose(found[0], found[1], atol=1e-3)
    assert torch.equal(found[0], logits(backbone, adapter, images, 0))
    assert "shared.task" not in adapter.state()
    other = attached(backbone, method)
    load_state(other, adapter.state())
    assert torch.equal(found[2], logits(backbone, other, images, 2))


def test_the_embedding_is_a_mean_by_the_softmax_of_the_affinity(tiny: dict[str, Backbone]) -> None:
    adapter = attached(tiny["flat"], VTAGML())
    alike = torch.tensor([[1.0, 0.5, -0.2], [0.5, 1.0, 0.0], [-0.2, 0.0, 1.0]])
    adapter.set_tracked("affinity", alike)
    adapter.set_tracked("task", 1)
    table = adapter.values()["shared.tasks"].detach()
    weights = [torch.exp(alike[1, s]) for s in range(3)]
    expected = sum(w * table[s] for s, w in enumerate(weights)) / sum(weights)
    torch.testing.assert_close(adapter.bind().value("shared.z").detach(), expected)
    rows = adapter.bind().tables()["task_weights"]
    assert list(rows) == list(TASKS)
    assert rows["two"]["one"] == pytest.approx(float(weights[0] / sum(weights)), rel=1e-5)


@pytest.mark.parametrize("single", [False, True])
def test_what_is_added_to_scores_is_added_before_the_softmax(single: bool) -> None:
    n, length, heads, width = 3, 5, 2, 8
    q, k, v = torch.randn(3, n * length, width)
    bias = torch.randn(length, length)
    ends = torch.tensor([0, 4, 2]) if single else None
    expected = torch.empty(n, length, width)
    for i in range(n):
        rows = slice(i * length, (i + 1) * length)
        for h in range(heads):
            part = slice(h * 4, h * 4 + 4)
            scores = q[rows, part] @ k[rows, part].T / 2 + bias
            expected[i, :, part] = scores.softmax(-1) @ v[rows, part]
    if ends is None:
        found = attend(q, k, v, n, heads, False, None, bias)
        torch.testing.assert_close(found, expected.flatten(0, 1))
    else:
        places = torch.arange(n) * length + ends
        found = attend(q[places], k, v, n, heads, False, ends, bias)
        torch.testing.assert_close(found, expected[torch.arange(n), ends])


def test_the_bias_joins_patches_of_one_row_and_leaves_the_class_token(
    tiny: dict[str, Backbone],
) -> None:
    adapter = moved(attached(tiny["flat"], VTAGML()))
    bias = adapter.bind().before(("image", 0, "scores"), torch.zeros(17, 17), 1).detach()
    assert bias[0].abs().sum() == bias[:, 0].abs().sum() == 0
    row = torch.arange(16) // 4
    same = row[:, None] == row[None]
    assert bool((bias[1:, 1:][same] != 0).all())
    assert bool((bias[1:, 1:][~same] == 0).all())


def test_counts() -> None:
    d, z, small, layers = 768, 64, 256, 12
    block = (z * z + z) + 2 * (z * d + d) + (d * small + small) + (small * d + d)
    assert block == 498_240
    scores = 196 * 14 + 2 * (14 * z + 14)
    assert trainable("vtagml", "method.attention=false") == layers * block + z == 5_978_944
    assert trainable("vtagml") == layers * block + z + (layers - 1) * scores == 6_029_148


def test_each_task_has_an_embedding_and_each_gate_its_own_weights(
    tiny: dict[str, Backbone],
) -> None:
    from harness.model import backbone

    parts = backbone.backbone_outline("ViT-B-16-quickgelu")
    one, three = (outline_counts(VTAGML(), parts, 10, tasks=t) for t in ((), TASKS))
    assert three.trainable - one.trainable == 2 * 64
    one, three = (outline_counts(GATES, parts, 10, tasks=t) for t in ((), TASKS))
    assert three.trainable - one.trainable == 2 * 24 * 2
    rows = attached(tiny["flat"], GATES).bind().tables()["rank_usage"]
    assert rows["two image.1"] == {"1x4": 0.5, "2x8": 0.5}


def test_frozen_starts_as_the_frozen_model(tiny: dict[str, Backbone], images: Images) -> None:
    backbone = tiny["flat"]
    frozen = logits(backbone, Adapter(backbone.clip), images, 0)
    for method in (VTAGML(init="frozen"), VTAGML()):
        found = logits(backbone, attached(backbone, method), images, 1)
        assert torch.allclose(found, frozen, atol=1e-5) == method.identity
