"""Adaptable Adapters: the activation, the switches, and the layers that a second stage keeps."""

import pytest
import torch
import torch.nn.functional as F

from harness.cli import run_output
from harness.evaluate import parameters
from harness.model import backbone
from harness.model.backbone import Backbone
from methods.adaptable_adapters import AdaptableAdapters
from methods.kit import Adapter, Clip, Task
from methods.kit.binding.randomness import Noise
from methods.kit.parts import rational_activation
from tests.conftest import task_of
from tests.methods.test_parameter_counts import trainable

VIT = "ViT-B-16-quickgelu"
SITE = ("image", 1, "mlp")


def test_the_activation_starts_as_one_or_close_to_gelu() -> None:
    x = torch.linspace(-3, 3, 601)
    assert torch.equal(
        rational_activation.rational(x, torch.tensor(rational_activation.ONE)), torch.ones_like(x)
    )
    near = rational_activation.rational(x, torch.tensor(rational_activation.GELU))
    assert (near - F.gelu(x)).abs().max() < 0.03


def test_the_activation_is_its_formula_in_fp32() -> None:
    c = torch.randn(10, dtype=torch.float64)
    x = torch.randn(50, dtype=torch.float64) * 3
    above = sum(c[i] * x**i for i in range(6))
    below = 1 + sum((c[5 + j] * x**j).abs() for j in range(1, 5))
    found = rational_activation.rational(x.float(), c.float())
    torch.testing.assert_close(found.double(), above / below, atol=1e-4, rtol=1e-4)
    large = torch.full((1,), 1e4, dtype=torch.float16)  # its fifth power is no float16
    assert torch.isfinite(rational_activation.rational(large, c.float())).all()


def attached(method: AdaptableAdapters, backbone: Backbone, task: Task | None = None) -> Adapter:
    torch.manual_seed(0)
    return method.attach(backbone.clip, task or task_of(backbone))


def output(adapter: Adapter, x: torch.Tensor, noise: Noise | None = None) -> torch.Tensor:
    return adapter.bind(noise=noise).after(SITE, x, x, len(x))


@pytest.mark.parametrize("prefers", ["skip", "adapter"])
def test_tested_switches_are_open_or_shut(prefers: str, tiny: dict[str, Backbone]) -> None:
    adapter = attached(AdaptableAdapters(), tiny["flat"])
    values, x = adapter.values(), torch.randn(6, 64)
    with torch.no_grad():
        values["image.1.switch"].copy_(
            torch.tensor([0.2, 0.1] if prefers == "skip" else [0.1, 0.2])
        )
    f = rational_activation.rational(x @ values["image.1.down"], values["image.1.rational"])
    expected = x + f @ values["image.1.up"] if prefers == "adapter" else x
    torch.testing.assert_close(output(adapter, x), expected, atol=1e-6, rtol=0)


def test_in_training_a_switch_is_a_soft_choice_under_gumbel_noise(
    tiny: dict[str, Backbone],
) -> None:
    adapter = attached(AdaptableAdapters(temperature=0.7), tiny["flat"])
    values, x = adapter.values(), torch.randn(6, 64)
    delta = rational_activation.rational(x @ values["image.1.down"], values["image.1.rational"])
    delta = delta @ values["image.1.up"]
    for step in range(5):
        noise = Noise(4, step)
        g = adapter.bind(noise=noise).value("image.gumbel")[1, :2]
        w = ((values["image.1.switch"] + g) / 0.7).softmax(0)
        torch.testing.assert_close(output(adapter, x, noise), w[0] * x + w[1] * (x + delta))


def test_the_noise_is_gumbel(tiny: dict[str, Backbone]) -> None:
    adapter = attached(AdaptableAdapters(), tiny["flat"])
    draws = [adapter.bind(noise=Noise(1, step)).value("image.gumbel")[:, :2] for step in range(800)]
    g = torch.stack(draws)
    assert float(g.mean()) == pytest.approx(0.5772, abs=0.05)  # Euler's constant
    assert float(g.var()) == pytest.approx(1.6449, abs=0.12)  # pi^2 / 6


def stage_state(adapter: Adapter, on: set[str]) -> dict[str, torch.Tensor]:
    """What a first stage that prefers these blocks would have left."""
    state = adapter.state()
    for name in state:
        if name.endswith(".switch"):
            lean = 0.3 if name.removesuffix(".switch") in on else -0.3
            state[name] = torch.tensor([0.5, 0.5 + lean])
    return state


def test_the_second_stage_has_adapters_in_the_chosen_layers_alone(
    tiny: dict[str, Backbone],
) -> None:
    backbone = tiny["flat"]
    on = {"image.0", "image.2", "text.1"}
    state = stage_state(attached(AdaptableAdapters(), backbone), on)
    task = task_of(backbone)
    second = attached(
        AdaptableAdapters(),
        backbone,
        Task(task.classnames, task.template, task.tokens, {"switches": state}),
    )
    assert {".".join(name.split(".")[:2]) for name in second.trained()} == on
    assert not any("switch" in name for name in second.values())
    assert second.bind().tables()["chosen_layers"] == {
        "image": {"1": 1.0, "2": 0.0, "3": 1.0},
        "text": {"1": 0.0, "2": 1.0},
    }


def test_where_no_switch_prefers_its_adapter_the_nearest_one_is_kept(
    tiny: dict[str, Backbone],
) -> None:
    backbone = tiny["flat"]
    state = stage_state(attached(AdaptableAdapters(), backbone), set())
    state["text.0.switch"] = torch.tensor([0.5, 0.4])
    task = task_of(backbone)
    second = attached(
        AdaptableAdapters(),
        backbone,
        Task(task.classnames, task.template, task.tokens, {"switches": state}),
    )
    assert {".".join(name.split(".")[:2]) for name in second.trained()} == {"text.0"}


def six(clip: Clip, adapter: Adapter, tower: str) -> dict[str, torch.Tensor]:
    """A first stage's state that prefers the first six layers of one tower."""
    state = {n: torch.zeros(v.shape) for n, v in adapter.values().items()}
    for block in clip.blocks():
        on = block.tower == tower and block.index < 6
        state[f"{block.key}.switch"] = torch.tensor([0.5, 0.9 if on else 0.1])
    return state


def test_counts() -> None:
    first = {d: 12 * (2 * d * b + b + d + 12) for d, b in ((768, 48), (512, 32))}
    assert list(first.values()) == [894_672, 399_888]
    assert trainable("adaptable_adapters") == sum(first.values()) == 1_294_560
    counts = run_output.count_parameters("adaptable_adapters", [], VIT, 10)
    assert counts["by_tower"]["image"] == 894_672
    parts, method = backbone.backbone_outline(VIT), AdaptableAdapters()
    for tower, expected in (("image", 447_324), ("text", 199_932)):
        one_tower = AdaptableAdapters(towers=(tower,))  # type: ignore[arg-type]
        state = six(parts.clip, parameters.attach_outline(method, parts, 2), tower)
        task = Task(("a", "b"), "{}", torch.zeros(2, 16, dtype=torch.long), {"switches": state})
        assert parameters.count_parameters(one_tower.attach(parts.clip, task)).trainable == expected
