"""AdaRing's readings, forms and gates against their formulas written out over the cores."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.split import Images
from harness.evaluate import predict
from harness.model.backbone import Backbone, backbone_outline, load_backbone
from harness.model.classifier import Classifier
from harness.model.tower_shape import TowerShape
from harness.run import config
from harness.spec.spec import BackboneSpec, TrainSpec
from harness.train.batches import Batch
from harness.train.fit import fit
from harness.train.gradients import train_step
from harness.train.trial_group import Trial, TrialGroup
from methods.adaring import AdaRing
from methods.kit import Adapter, Task, UsageError
from tests.conftest import NAMES, TEMPLATE, TINY, task_of
from tests.method_variants import VARIANTS

ROWS = 5
TRAIN = TrainSpec(lr=1e-2, weight_decay=0.0, epochs=2, batch_size=4, augment="none")
NO_TASK = Task((), "{}", torch.zeros(0, 0, dtype=torch.long))
SMALL = AdaRing(form="adapter", ring_rank=2, slice_size=(2, 3), bottleneck=8)


def attach(method: AdaRing, backbone: Backbone, perturbed: bool = True) -> Adapter:
    """The method on a backbone, with no core at zero."""
    torch.manual_seed(0)
    adapter = method.attach(backbone.clip, task_of(backbone))
    if perturbed:
        with torch.no_grad():
            for p in adapter.parameters():
                p.add_(0.1 * torch.randn(p.shape))
    return adapter


def net_of(backbone: Backbone, adapter: Adapter) -> Classifier:
    return Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))


def logits(backbone: Backbone, adapter: Adapter, images: Images) -> Tensor:
    with torch.no_grad():
        return net_of(backbone, adapter)(images.pixels, adapter.bind()).logits


def trace(slices: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """All matrices of a ring of order 3."""
    return torch.einsum("alb,bic,cja->lij", slices, left, right)


def cores(adapter: Adapter, name: str, *parts: str) -> list[Tensor]:
    return [adapter.values()[f"{name}.{part}"].detach() for part in parts]


def ring(adapter: Adapter, name: str) -> Tensor:
    return trace(*cores(adapter, name, "slices", "left", "right"))


def behind(adapter: Adapter, layer: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(y, y + adapter) behind the MLP of an image block."""
    y = torch.randn(ROWS, adapter.clip.image.width, generator=torch.Generator().manual_seed(seed))
    key = ("image", layer, "mlp")
    with torch.no_grad():
        return y, adapter.bind().after(key, torch.zeros_like(y), y, ROWS)


@pytest.mark.parametrize("case", [*VARIANTS, "adaring-default", "adaring-parallel_small"])
def test_the_logits_are_bit_for_bit_those_of_the_frozen_model_at_the_start(
    case: str, tiny: dict[str, Backbone], images: Images
) -> None:
    extra = {
        "adaring-default": AdaRing(form="adapter"),
        "adaring-parallel_small": AdaRing(form="adapter", reading="parallel"),
    }
    method = {**VARIANTS, **extra}[case]
    assert isinstance(method, AdaRing)
    frozen = logits(tiny["flat"], Adapter(tiny["flat"].clip), images)
    assert torch.equal(logits(tiny["flat"], attach(method, tiny["flat"], False), images), frozen)


def test_zeroed_up_slices_give_the_frozen_logits_again(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    frozen = logits(backbone, Adapter(backbone.clip), images)
    adapter = attach(AdaRing(form="adapter"), backbone)
    assert not torch.allclose(logits(backbone, adapter, images), frozen)
    with torch.no_grad():
        for tower in ("image", "text"):
            adapter.values()[f"{tower}.up.slices"].zero_()
    assert torch.equal(logits(backbone, adapter, images), frozen)


# --- readings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("slice_size", [(2, 3), (3, 2), (8, 8)])
def test_two_rings(slice_size: tuple[int, int], tiny: dict[str, Backbone]) -> None:
    adapter = attach(replace(SMALL, slice_size=slice_size, scale=0.5), tiny["flat"])
    down, up = ring(adapter, "image.down"), ring(adapter, "image.up")
    for layer in range(3):
        y, found = behind(adapter, layer)
        expected = y + 0.5 * F.gelu(y @ down[layer]) @ up[layer]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("slice_size", [(2, 3), (3, 2), (8, 8)])
def test_one_ring_uses_the_transposed_matrix_of_the_upper_half(
    slice_size: tuple[int, int], tiny: dict[str, Backbone]
) -> None:
    adapter = attach(replace(SMALL, reading="one_ring", slice_size=slice_size), tiny["flat"])
    both = ring(adapter, "image.ring")
    assert both.shape == (2 * 3, 64, 8)
    for layer in range(3):
        y, found = behind(adapter, layer)
        expected = y + F.gelu(y @ both[layer]) @ both[3 + layer].T
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_factored_widths(tiny: dict[str, Backbone]) -> None:
    adapter = attach(replace(SMALL, reading="factored", bottleneck=32), tiny["flat"])
    order = ("slices", "left.0", "left.1", "right.0", "right.1")
    down, up = cores(adapter, "image.down", *order), cores(adapter, "image.up", *order)
    assert [c.shape[1] for c in down] == [3, 8, 8, 4, 8]  # 3 layers, 64 = 8 8, 32 = 4 8
    assert [c.shape[1] for c in up] == [3, 4, 8, 8, 8]
    for layer in range(3):
        y, found = behind(adapter, layer)
        d, u = (torch.einsum("alb,bic,cjd,dke,eha->lijkh", *c)[layer] for c in (down, up))
        d, u = d.reshape(64, 32), u.reshape(32, 64)
        torch.testing.assert_close(found, y + F.gelu(y @ d) @ u, atol=1e-5, rtol=1e-4)


def test_parallel_reads_the_normed_input_of_the_block_in_upper_blocks_alone(
    tiny: dict[str, Backbone],
) -> None:
    backbone = tiny["flat"]
    adapter = attach(replace(SMALL, reading="parallel"), backbone)
    assert {key for key in adapter.wiring.sites if key[0] == "image"} == {
        ("image", 1, "block"), ("image", 2, "block"),
    }  # fmt: skip
    down, up = ring(adapter, "image.down"), ring(adapter, "image.up")
    ln = backbone.model.visual.transformer.resblocks[2].ln_1
    x, y = torch.randn(2, ROWS, 64)
    with torch.no_grad():
        found = adapter.bind().after(("image", 2, "block"), x, y, ROWS)
        expected = y + 0.001 * F.gelu(ln(x) @ down[1]) @ up[1]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_the_gradient_of_parallel_adapters_is_free_of_the_scale(tiny: dict[str, Backbone]) -> None:
    adapter = attach(replace(SMALL, reading="parallel", scale=0.25), tiny["flat"])
    x, y = torch.randn(2, ROWS, 64)
    x.requires_grad_()
    adapter.bind().after(("image", 2, "block"), x, y, ROWS).sin().sum().backward()
    plain = attach(replace(SMALL, reading="parallel", scale=0.25), tiny["flat"])
    down, up = (plain.values()[f"image.{n}.slices"] for n in ("down", "up"))
    z = x.detach().clone().requires_grad_()
    clip = tiny["flat"].clip
    ln = clip.image.block(2).site("ln_1")
    normed = F.layer_norm(z, (64,), clip.weight(ln), clip.bias(ln))
    d = trace(down, *cores(plain, "image.down", "left", "right"))[1]
    u = trace(up, *cores(plain, "image.up", "left", "right"))[1]
    (y + 0.25 * F.gelu(normed @ d) @ u).sin().sum().backward()
    assert z.grad is not None
    torch.testing.assert_close(x.grad, z.grad, atol=1e-6, rtol=1e-4)
    for name, core in (("image.down.slices", down), ("image.up.slices", up)):
        assert core.grad is not None
        mine = adapter.values()[name].grad
        torch.testing.assert_close(mine, 4 * core.grad, atol=1e-5, rtol=1e-4)


def test_towers_share_the_cores_of_the_bottleneck(tiny: dict[str, Backbone]) -> None:
    adapter = attach(replace(SMALL, share="both"), tiny["flat"])
    v = adapter.values()
    assert {name for name in v if name.startswith("shared")} == {
        "shared.down.right", "shared.up.left",
    }  # fmt: skip
    for tower, width in (("image", 64), ("text", 32)):
        down = trace(v[f"{tower}.down.slices"], v[f"{tower}.down.left"], v["shared.down.right"])
        up = trace(v[f"{tower}.up.slices"], v["shared.up.left"], v[f"{tower}.up.right"])
        y = torch.randn(ROWS, width)
        found = adapter.bind().after((tower, 1, "mlp"), torch.zeros_like(y), y, ROWS)
        torch.testing.assert_close(found, y + F.gelu(y @ down[1]) @ up[1], atol=1e-5, rtol=1e-4)


# --- weight updates ---------------------------------------------------------------------------


@pytest.mark.parametrize("slice_size", [(2, 3), (3, 2), (8, 8)])
def test_updates_of_one_shape_are_one_ring_over_layers_and_sites(
    slice_size: tuple[int, int], tiny: dict[str, Backbone]
) -> None:
    backbone = tiny["flat"]
    sites = ("q", "v", "o", "fc", "proj")
    method = AdaRing(form="delta", ring_rank=2, slice_size=slice_size, sites=sites, scale=0.5)
    adapter = attach(method, backbone)
    square = ring(adapter, "image.q_v_o")
    fc, proj = ring(adapter, "image.fc"), ring(adapter, "image.proj")
    assert square.shape == (9, 64, 64)
    assert (fc.shape, proj.shape) == ((3, 256, 64), (3, 64, 256))
    for layer in range(3):
        q, v, o = square[3 * layer : 3 * layer + 3]
        qkv = torch.cat((q, torch.zeros_like(q), v))
        updates = {"qkv": qkv, "out_proj": o, "fc": fc[layer], "proj": proj[layer]}
        for name, update in updates.items():
            weight = backbone.clip.weights[f"image.{layer}.{name}.weight"]
            x = torch.randn(ROWS, weight.shape[1])
            with torch.no_grad():
                found = adapter.bind().linear(("image", layer, name), x, weight, None)
            expected = x @ (weight + 0.5 * update).T
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_updates_by_site_and_with_widths_in_factors(tiny: dict[str, Backbone]) -> None:
    method = AdaRing(form="delta", slice_size=2, grouping="site", reading="factored", sites=("k",))
    adapter = attach(method, tiny["flat"])
    order = ("slices", "left.0", "left.1", "right.0", "right.1")
    whole = torch.einsum("alb,bic,cjd,dke,eha->lijkh", *cores(adapter, "image.k", *order))
    update = whole[1].reshape(64, 64)
    weight, x = torch.randn(192, 64), torch.randn(ROWS, 64)
    with torch.no_grad():
        found = adapter.bind().linear(("image", 1, "qkv"), x, weight, None)
    expected = x @ weight.T
    expected[:, 64:128] += x @ update.T
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_q_k_and_v_share_the_product_with_their_common_core(tiny: dict[str, Backbone]) -> None:
    method = AdaRing(form="delta", ring_rank=2, slice_size=(2, 3))
    bound = attach(method, tiny["flat"]).bind()
    attached = bound.at(("image", 0, "qkv"))
    assert attached is not None
    assert len(attached.adds) == 3
    down, up = bound._fuse(("image", 0, "qkv"), 192)
    assert (down.shape, up.shape) == ((4, 64), (192, 4))


# --- several ranks ----------------------------------------------------------------------------

PAIR = replace(SMALL, ranks=((2, 2), (1, 4)))


def branches(adapter: Adapter, layer: int, y: Tensor) -> list[Tensor]:
    """What each ring gives behind a block of the image tower."""
    return [
        F.gelu(y @ ring(adapter, f"image.down.{r}")[layer]) @ ring(adapter, f"image.up.{r}")[layer]
        for r in ("2x2", "1x4")
    ]


def test_rings_of_several_ranks_are_summed(tiny: dict[str, Backbone]) -> None:
    adapter = attach(PAIR, tiny["flat"])
    y, found = behind(adapter, 1)
    torch.testing.assert_close(found, y + sum(branches(adapter, 1, y)), atol=1e-5, rtol=1e-4)


def test_each_layer_weighs_its_rings(tiny: dict[str, Backbone]) -> None:
    adapter = attach(replace(PAIR, combine="layer_gate"), tiny["flat"])
    weights = 2 * adapter.values()["image.gates"].detach().softmax(-1)
    assert weights.shape == (3, 2)
    for layer in range(3):
        y, found = behind(adapter, layer)
        one, two = branches(adapter, layer, y)
        expected = y + weights[layer, 0] * one + weights[layer, 1] * two
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_gates_of_one_ring_leave_the_down_half_alone(tiny: dict[str, Backbone]) -> None:
    method = replace(PAIR, combine="layer_gate", reading="one_ring")
    adapter = attach(method, tiny["flat"])
    weights = 2 * adapter.values()["image.gates"].detach().softmax(-1)
    y, found = behind(adapter, 2)
    for k, label in enumerate(("2x2", "1x4")):
        both = ring(adapter, f"image.ring.{label}")
        found = found - weights[2, k] * F.gelu(y @ both[2]) @ both[5].T
    torch.testing.assert_close(found, y, atol=1e-5, rtol=1e-4)


def test_each_layer_weighs_its_updates(tiny: dict[str, Backbone]) -> None:
    method = AdaRing(form="delta", ranks=((2, 2), (1, 3)), combine="layer_gate", sites=("o", "q"))
    adapter = attach(method, tiny["flat"])
    weights = 2 * adapter.values()["image.gates"].detach().softmax(-1)
    both = [ring(adapter, f"image.o_q.{label}") for label in ("2x2", "1x3")]
    update = sum(weights[2, k] * both[k][2 * 2] for k in range(2))  # o stands before q
    assert isinstance(update, Tensor)
    x, weight = torch.randn(ROWS, 64), torch.zeros(64, 64)
    with torch.no_grad():
        found = adapter.bind().linear(("image", 2, "out_proj"), x, weight, None)
    torch.testing.assert_close(found, x @ update.T, atol=1e-5, rtol=1e-4)


def test_each_token_weighs_the_rings(tiny: dict[str, Backbone]) -> None:
    adapter = attach(replace(PAIR, combine="input_gate"), tiny["flat"])
    adapter.advance(0.5, seed=1, step=1)
    v = adapter.values()
    assert float(v["shared.temperature"]) == pytest.approx(math.sqrt(0.1))
    y, found = behind(adapter, 2)
    chosen = (y @ v["image.router.weight"] + v["image.router.bias"][2]) / math.sqrt(0.1)
    weights = 2 * chosen.detach().softmax(-1)
    assert weights.std(0).min() > 0.05
    one, two = branches(adapter, 2, y)
    expected = y + weights[:, :1] * one + weights[:, 1:] * two
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_temperature_falls_by_a_constant_factor(tiny: dict[str, Backbone]) -> None:
    method = replace(PAIR, combine="input_gate", temperature=(2.0, 0.5))
    adapter = attach(method, tiny["flat"])
    found = []
    for progress in (0.0, 0.25, 0.5, 0.75, 1.0):
        adapter.advance(progress, seed=1, step=0)
        found.append(float(adapter.state()["shared.temperature"]))
    assert found == pytest.approx([2, math.sqrt(2), 1, math.sqrt(0.5), 0.5])


@pytest.mark.parametrize("combine", ["layer_gate", "input_gate"])
def test_the_usage_of_each_rank_is_reported_for_each_layer(
    combine: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    adapter = attach(replace(PAIR, combine=combine), backbone)  # type: ignore[arg-type]
    usage = predict.method_tables(net_of(backbone, adapter), images)["rank_usage"]
    assert list(usage) == ["image.1", "image.2", "image.3", "text.1", "text.2"]
    for row in usage.values():
        assert list(row) == ["2x2", "1x4"]
        assert sum(row.values()) == pytest.approx(1)
    if combine == "layer_gate":
        shares = adapter.values()["image.gates"].softmax(-1)
        assert list(usage["image.2"].values()) == pytest.approx(shares[1].tolist())


def test_usage_is_the_mean_over_the_tokens_of_all_images(
    tiny: dict[str, Backbone], images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny["flat"]
    adapter = attach(replace(PAIR, combine="input_gate"), backbone)
    net = net_of(backbone, adapter)
    whole = predict.method_tables(net, images)
    monkeypatch.setattr(TowerShape, "batch_size", lambda self, device: 3)
    parts = predict.method_tables(net, images)
    for layer, row in whole["rank_usage"].items():
        assert list(row.values()) == pytest.approx(list(parts["rank_usage"][layer].values()))
    # the first block by hand: the output of its frozen MLP is what the router reads
    seen = []
    frozen = Adapter(backbone.clip)
    frozen.after(backbone.clip.image.block(0).site("mlp"), lambda x, y: seen.append(y) or y)
    with torch.no_grad():
        net_of(backbone, frozen)(images.pixels, frozen.bind())
    v = adapter.values()
    shares = (seen[0] @ v["image.router.weight"] + v["image.router.bias"][0]).softmax(-1)
    assert len(shares) == 8 * 17
    found = list(whole["rank_usage"]["image.1"].values())
    assert found == pytest.approx(shares.mean(0).tolist(), abs=1e-5)


def test_a_method_that_reports_nothing_has_no_tables(
    tiny: dict[str, Backbone], images: Images
) -> None:
    assert predict.method_tables(net_of(tiny["flat"], attach(SMALL, tiny["flat"])), images) == {}


# --- precision and error messages -------------------------------------------------------------


@pytest.mark.parametrize("form", ["adapter", "delta"])
def test_cores_and_their_products_are_fp32_under_bf16_autocast(
    form: Literal["adapter", "delta"], weights: dict[str, Path], images: Images
) -> None:
    spec = BackboneSpec(str(TINY / "flat.json"), str(weights["flat"]), precision="bf16")
    backbone = load_backbone(spec)
    adapter = attach(AdaRing(form=form, slice_size=4), backbone)
    net = net_of(backbone, adapter)
    group = TrialGroup([Trial(adapter, TRAIN)])
    batch = Batch(images.pixels, images.labels, torch.arange(8))
    train_step(net, group, batch)
    assert set(group.gradients()) == set(adapter.trained())
    for name, grad in group.gradients().items():
        assert adapter.trained()[name].dtype == torch.float32
        assert grad.dtype == torch.float32
        assert bool(grad.any())
    derived = [v for n, v in adapter.bind()._values.items() if n.endswith("factors")]
    assert {t.dtype for pair in derived for t in pair} == {torch.float32}
    assert backbone.precision == "bf16"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ranks=[[2,4]]", "combine=layer_gate"], "'layer_gate' needs two rings"),
        (["ranks=[[2,4],[2,4]]"], "method.ranks: two rings of the same ranks"),
        (["form=adapter", "dropout=0.1"], "method.dropout: needs method.form=delta"),
        (["reading=one_ring"], "'one_ring' needs method.form=adapter"),
        (["form=delta", "reading=parallel"], "'parallel' needs method.form=adapter"),
        (["form=delta", "ranks=[[2,4],[4,2]]", "combine=input_gate"], "needs method.form=adapter"),
        (["sites=[]"], "method.sites: name at least one"),
        (["share=both", 'towers=["text"]'], "method.share: 'both' needs both towers"),
        (["share=both"], "these are 160 and 64 wide"),
        (["ring_rank=[2,3]"], "method.ring_rank: 2 ranks for 1 bonds between the shared cores"),
        (["form=adapter", "reading=factored", "ring_rank=[2,3]"], "2 ranks for 4 bonds"),
        (["consistency_on=low_rank"], "needs two rings in method.ranks and a consistency weight"),
        (["ranks=[[2,4],[900,2]]"], "method.ring_rank: 900 is larger"),
        (["form=adapter", "bottleneck=100"], "method.bottleneck: 100 is larger than the width 64"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_in_one_line(
    words: list[str], message: str
) -> None:
    backbone = backbone_outline("embedded")
    chosen = config.build("few_shot", ["method=adaring", *(f"method.{w}" for w in words)])
    with pytest.raises(UsageError) as raised:
        chosen.method.attach(backbone.clip, task=NO_TASK)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_equally_wide_towers_share_the_cores_of_their_updates(
    tiny: dict[str, Backbone],
) -> None:
    clip = tiny["flat"].clip
    wide = replace(clip, text=replace(clip.image, name="text", depth=2))
    adapter = AdaRing(form="delta", share="both").attach(wide, task=NO_TASK)
    assert set(adapter.trained()) == {
        "image.q_k_v.slices", "text.q_k_v.slices", "shared.q_k_v.left", "shared.q_k_v.right",
    }  # fmt: skip


def test_training_with_every_option_is_repeatable(
    tiny: dict[str, Backbone], images: Images
) -> None:
    method = replace(PAIR, combine="input_gate", share="both", consistency_logits=1.0)
    states = []
    for _ in range(2):
        adapter = attach(method, tiny["flat"], False)
        list(fit(net_of(tiny["flat"], adapter), images, TRAIN, seed=1))
        states.append(adapter.state())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
