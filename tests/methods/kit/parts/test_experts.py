"""AdaMix and MoSA: routing, merging, agreement of two passes, counts."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.cli import run_output
from harness.data.split import Images
from harness.model.backbone import Backbone
from harness.model.classifier import Classifier
from harness.spec.spec import TrainSpec
from harness.train.fit import fit
from methods.adamix import AdaMix
from methods.kit import Adapter, Method, Step, UsageError
from methods.kit.binding.randomness import Noise
from methods.kit.parts import experts
from methods.mosa import MoSA
from tests.conftest import NAMES, TEMPLATE, task_of
from tests.methods.test_parameter_counts import trainable

VIT = "ViT-B-16-quickgelu"
TRAIN = TrainSpec(lr=1e-2, weight_decay=0.0, epochs=1, batch_size=8, augment="none")
SITE = ("image", 1, "mlp")


def attached(method: Method, backbone: Backbone, noise: float = 0.0) -> Adapter:
    torch.manual_seed(0)
    adapter = method.attach(backbone.clip, task_of(backbone))
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in adapter.parameters():
            p.add_(noise * torch.randn(p.shape, generator=rng))
    return adapter


def train(adapter: Adapter, backbone: Backbone, images: Images, cfg: TrainSpec = TRAIN) -> None:
    net = Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))
    list(fit(net, images, cfg, seed=1))


def at_site(adapter: Adapter, x: Tensor, y: Tensor, noise: Noise | None = None) -> Tensor:
    return adapter.bind(noise=noise).after(SITE, x, y, len(x))


# --- AdaMix ----------------------------------------------------------------------------------


def test_adamix_in_training_is_the_adapter_of_the_drawn_expert(tiny: dict[str, Backbone]) -> None:
    adapter = attached(AdaMix(share_up=False), tiny["flat"], 0.1)
    x, values, seen = torch.randn(6, 64), adapter.values(), set()
    for step in range(20):
        noise = Noise(3, step)
        bound = adapter.bind(noise=noise)
        i = int(bound.value("image.route.down")[1].argmax())
        j = int(bound.value("image.route.up")[1].argmax())
        h = F.gelu(x @ values["image.1.down"][i] + values["image.1.down_bias"][i])
        expected = x + h @ values["image.1.up"][j] + values["image.1.up_bias"][j]
        torch.testing.assert_close(at_site(adapter, x, x, noise), expected, atol=1e-5, rtol=1e-4)
        seen.add((i, j))
    assert len(seen) > 8  # both halves are drawn, apart from each other


def test_adamix_tested_is_the_mean_of_its_experts(tiny: dict[str, Backbone]) -> None:
    adapter = attached(AdaMix(), tiny["flat"], 0.1)
    x, values = torch.randn(6, 64), adapter.values()
    h = F.gelu(x @ values["image.1.down"].mean(0) + values["image.1.down_bias"].mean(0))
    expected = x + h @ values["image.1.up"] + values["image.1.up_bias"]
    torch.testing.assert_close(at_site(adapter, x, x), expected, atol=1e-5, rtol=1e-4)


def test_adamix_with_one_expert_is_a_plain_adapter(tiny: dict[str, Backbone]) -> None:
    adapter = attached(AdaMix(experts=1), tiny["flat"], 0.1)
    x, values = torch.randn(6, 64), adapter.values()
    h = F.gelu(x @ values["image.1.down"][0] + values["image.1.down_bias"][0])
    expected = x + h @ values["image.1.up"] + values["image.1.up_bias"]
    torch.testing.assert_close(at_site(adapter, x, x, Noise(1, 2)), expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(at_site(adapter, x, x), at_site(adapter, x, x, Noise(1, 2)))


def test_layers_and_steps_and_passes_draw_apart(tiny: dict[str, Backbone]) -> None:
    adapter = attached(AdaMix(), tiny["flat"])

    def drawn(noise: Noise) -> list[int]:
        bound = adapter.bind(noise=noise)
        return [int(bound.value("image.route.down")[i].argmax()) for i in range(3)]

    assert drawn(Noise(1, 5)) == drawn(Noise(1, 5))
    assert len({tuple(drawn(Noise(1, step))) for step in range(30)}) > 10
    assert any(drawn(Noise(1, step)) != drawn(Noise(1, step).next_pass()) for step in range(5))


def test_the_penalty_is_half_the_sum_of_both_divergences(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    adapter = attached(AdaMix(consistency=0.7), backbone, 0.1)
    net = Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))
    noise = Noise(1, 0)
    bound = adapter.bind(noise=noise)
    one = net(images.pixels, bound)
    two = net(images.pixels, adapter.bind(noise=noise.next_pass())).logits
    step = Step(images.labels, one.image, one.text, one.logits, 0.0, second_logits=two)
    p, q = one.logits.softmax(-1), two.softmax(-1)
    both = (p * (p / q).log() + q * (q / p).log()).sum(-1).mean()
    penalty = bound.penalty(step)
    assert penalty is not None
    torch.testing.assert_close(penalty, 0.7 * 0.5 * both, atol=1e-5, rtol=1e-3)


def test_a_detached_pass_is_a_fixed_target() -> None:
    one = torch.randn(5, 4, requires_grad=True)
    two = torch.randn(5, 4, requires_grad=True)
    none = torch.empty(0)
    step = Step(none, none, none, one, 0.0, second_logits=two)
    experts.disagreement(step, weight=2.0, detach=True).backward()
    p = one.detach().requires_grad_()
    q = two.detach()
    (p.softmax(-1) * (p.log_softmax(-1) - q.log_softmax(-1))).sum(-1).mean().backward()
    assert one.grad is not None
    assert p.grad is not None
    torch.testing.assert_close(one.grad, p.grad)  # KL(p | sg q) alone trains p
    whole = torch.func.grad(
        lambda z: experts.disagreement(Step(none, none, none, z, 0.0, second_logits=q), 2.0, False)
    )(one.detach())
    assert not torch.allclose(whole, one.grad)


def test_after_training_the_merged_adapter_is_as_good_as_random_routes(
    tiny: dict[str, Backbone], images: Images
) -> None:
    """Experts are averaged, which is right only if they stayed close enough to each other."""
    backbone = tiny["flat"]
    adapter = attached(AdaMix(init="frozen"), backbone)
    train(adapter, backbone, images, replace(TRAIN, epochs=150))
    net = Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))

    def right(noise: Noise | None) -> float:
        with torch.no_grad():
            found = net(images.pixels, adapter.bind(noise=noise)).logits.argmax(-1)
        return float((found == images.labels).float().mean())

    routed = [right(Noise(9, step)) for step in range(20)]
    assert right(None) >= sum(routed) / len(routed) - 0.05
    assert right(None) > 0.5  # chance is a quarter


def test_without_consistency_there_is_no_second_pass(tiny: dict[str, Backbone]) -> None:
    assert attached(AdaMix(), tiny["flat"]).wiring.needs_second_pass
    assert not attached(AdaMix(consistency=0.0), tiny["flat"]).wiring.needs_second_pass


def test_adamix_counts() -> None:
    merged, stored = [], []
    for d, r, n in ((768, 16, 4), (512, 16, 4)):
        merged.append(12 * (2 * d * r + r + d))
        stored.append(12 * (n * (d * r + r) + r * d + d))
    assert (merged, stored) == ([304_320, 202_944], [747_264, 498_432])
    counts = run_output.count_parameters("adamix", [], VIT, 100)
    assert counts["by_tower"] == {"image": 747_264, "text": 498_432, "shared": 0}
    assert counts["trainable"] == counts["stored"] == 1_245_696
    assert counts["inference"] == sum(merged) == 507_264
    assert 12 * (2 * 768 * 48 + 48 + 768) == 894_528  # BERT-base, published as 0.9 M


# --- MoSA ------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", ["down", "none"])
def test_masks_are_disjoint_equal_and_cover_everything(
    share: str, tiny: dict[str, Backbone]
) -> None:
    adapter = attached(MoSA(share=share, experts=3), tiny["flat"])  # type: ignore[arg-type]
    halves = ["up"] if share == "down" else ["up", "down"]
    owners = {n: v for n, v in adapter.values().items() if n.endswith("_owner")}
    assert len(owners) == 5 * len(halves)
    for owner in owners.values():
        sizes = [int((owner == i).sum()) for i in range(3)]
        assert sum(sizes) == owner.numel()
        assert max(sizes) - min(sizes) <= 1


def test_an_expert_differs_from_the_start_inside_its_mask_alone(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    adapter = attached(MoSA(share="none", consistency=0.0), backbone, 0.05)
    before = adapter.state()
    chosen = adapter.bind(noise=Noise(1, 0))  # what the first step draws
    train(adapter, backbone, images)
    after = adapter.state()
    for half in ("down", "up"):
        expert = int(chosen.value(f"image.route.{half}")[1][1:].argmax())
        moved = after[f"image.1.{half}"] != before[f"image.1.{half}"]
        owner = after[f"image.1.{half}_owner"]
        assert bool(moved[owner == expert].any())
        assert not moved[owner != expert].any()


@pytest.mark.parametrize("merge", ["add", "joint", "repository"])
def test_mosa_is_what_copies_with_masked_updates_give(
    merge: str, tiny: dict[str, Backbone]
) -> None:
    n = 3
    adapter = attached(MoSA(share="none", merge=merge, experts=n), tiny["flat"], 0.1)  # type: ignore[arg-type]
    values = adapter.values()
    x, y = torch.randn(6, 64), torch.randn(6, 64)
    h = F.layer_norm(x, (64,), values["image.1.norm.weight"], values["image.1.norm.bias"])

    def copies(half: str) -> list[Tensor]:
        """The repository's N full-size copies."""
        whole, owner = values[f"image.1.{half}"], values[f"image.1.{half}_owner"]
        start = values["image.1.down_start"] if half == "down" else torch.zeros_like(whole)
        return [torch.where(owner == i, whole, start) for i in range(n)]

    def output(down: Tensor, up: Tensor) -> Tensor:
        small = F.gelu(h @ down + values["image.1.down_bias"])
        return y + 0.1 * (small @ up + values["image.1.up_bias"])

    noise = Noise(2, 7)
    i, j = (
        int(adapter.bind(noise=noise).value(f"image.route.{half}")[1][1:].argmax())
        for half in ("down", "up")
    )
    expected = output(copies("down")[i], copies("up")[j])
    torch.testing.assert_close(at_site(adapter, x, y, noise), expected, atol=1e-5, rtol=1e-4)

    def merged(half: str) -> Tensor:
        several = torch.stack(copies(half))
        whole = values[f"image.1.{half}"]
        return {"add": several.mean(0), "joint": whole, "repository": whole / n}[merge]

    expected = output(merged("down"), merged("up"))
    torch.testing.assert_close(at_site(adapter, x, y), expected, atol=1e-5, rtol=1e-4)


def test_mosa_counts_as_one_dense_adapter() -> None:
    for bottleneck, image, text in ((64, 1_208_064, 805_632), (16, 322_752, 215_232)):
        assert image == 12 * (2 * 768 + 2 * 768 * bottleneck + bottleneck + 768)
        counts = run_output.count_parameters("mosa", [f"method.bottleneck={bottleneck}"], VIT, 100)
        assert counts["by_tower"] == {"image": image, "text": text, "shared": 0}
        assert counts["trainable"] == counts["inference"] == image + text
        masks = 12 * bottleneck * (768 + 512)  # a byte each
        assert counts["stored"] == image + text + masks
    assert trainable("mosa") == 2_013_696


def test_more_experts_than_entries_are_refused(tiny: dict[str, Backbone]) -> None:
    with pytest.raises(UsageError, match=r"method\.experts: 300 is more than 255"):
        attached(MoSA(experts=300), tiny["flat"])
