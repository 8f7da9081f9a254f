"""The same matrix of every layer, from the saved state of a method."""

import pytest
import torch

from harness.evaluate import parameters
from harness.model import backbone
from harness.run.config import build
from harness.spec.spec import Spec
from methods.kit.contract.adapter import Adapter
from methods.kit.contract.method import Task
from methods.kit.core.errors import UsageError
from reports.analyses.layer_stacks import stack_layers
from tests.conftest import TINY


def made(*words: str) -> tuple[Spec, Adapter, dict[str, torch.Tensor]]:
    """A spec on the flat tiny model, its adapter without numbers, and a random state of it."""
    spec = build("few_shot", [*words, f"backbone={TINY / 'flat.json'}", "pretrained=random"])
    adapter = parameters.attach_outline(
        spec.method, backbone.backbone_outline(spec.backbone.name), 2
    )
    rng = torch.Generator().manual_seed(0)
    state = {n: torch.randn(v.shape, generator=rng) for n, v in adapter.values().items()}
    return spec, adapter, state


def test_low_rank_paths_count_as_the_updates_they_make() -> None:
    spec, adapter, state = made("method=lora", "method.sites=q,v", "method.rank=2")
    found = stack_layers(spec, state)
    assert set(found) == {"image.qkv", "text.qkv"}
    width, depth = adapter.clip.image.width, adapter.clip.image.depth
    assert found["image.qkv"].shape == (depth, 3 * width, width)
    scale = 1 / 2**0.5  # alpha / sqrt(rank)
    for site, rows in (("q", slice(0, width)), ("v", slice(2 * width, 3 * width))):
        down, up = state[f"image.1.{site}.down"], state[f"image.1.{site}.up"]
        torch.testing.assert_close(found["image.qkv"][1, rows], scale * up @ down)
    assert not found["image.qkv"][:, width : 2 * width].any()  # k is not adapted


def test_other_matrices_count_as_themselves() -> None:
    spec, adapter, state = made("method=full_rank", "method.bottleneck=4")
    found = stack_layers(spec, state, since_start=False)
    assert set(found) == {"image.down", "image.up", "text.down", "text.up"}
    for i in range(adapter.clip.text.depth):
        assert torch.equal(found["text.up"][i], state[f"text.{i}.up"])


def test_what_training_changed_is_what_counts() -> None:
    spec, _, _ = made("method=full_rank", "method.bottleneck=4", "seed=3")
    backbone_of = backbone.load_backbone(spec.backbone)
    torch.manual_seed(3)
    task = Task(("a", "b"), "{}", backbone_of.prompts("{}", ["a", "b"]).ids)
    state = spec.method.attach(backbone_of.clip, task).state()
    moved = {name: value + 0.01 for name, value in state.items()}
    found = stack_layers(spec, moved)
    assert all(torch.allclose(m, torch.full_like(m, 0.01), atol=1e-6) for m in found.values())


def test_initial_values_of_another_device_are_noticed() -> None:
    spec, _, state = made("method=full_rank", "method.bottleneck=4")
    with pytest.raises(UsageError, match="cannot be drawn again here"):
        stack_layers(spec, state)


@pytest.mark.parametrize("words", ["adaring method.form=adapter", "clip_adapter", "zero_shot"])
def test_methods_without_matrices_in_each_layer_are_refused(words: str) -> None:
    spec, _, state = made(*f"method={words}".split())
    with pytest.raises(UsageError, match="no matrices of its own in each layer"):
        stack_layers(spec, state)


def test_methods_in_stages_are_read_as_trained_or_refused() -> None:
    spec, _, state = made("method=mera")
    with pytest.raises(UsageError, match="use --as-trained"):
        stack_layers(spec, state)
    assert "image.down" in stack_layers(spec, state, since_start=False)
    spec, _, state = made("method=adaptable_adapters")
    left = {name: value for name, value in state.items() if not name.startswith("image.0.")}
    with pytest.raises(UsageError, match="chose its layers while it trained"):
        stack_layers(spec, left, since_start=False)
