"""ARC, which runs as updates of the maps that follow, against its formula."""

import pytest
import torch
import torch.nn.functional as F

from harness.cli import run_output
from harness.data.split import Images
from harness.model.backbone import Backbone
from methods.arc import ARC
from methods.kit import Adapter, Clip, UsageError
from tests.conftest import task_of
from tests.methods.test_parameter_counts import trainable

VIT = "ViT-B-16-quickgelu"


def moved(method: ARC, backbone: Backbone) -> Adapter:
    """With values that training could have given."""
    adapter = method.attach(backbone.clip, task_of(backbone))
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in adapter.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng))
    return adapter


def written_out(clip: Clip, trained: Adapter) -> Adapter:
    """x + ((x W) * c) W^T + b on the outputs of both LayerNorms, as the paper writes it."""
    adapter = Adapter(clip)
    values = {name: value.detach() for name, value in trained.values().items()}
    for block in clip.blocks():
        for place, norm in (("attention", "ln_1"), ("mlp", "ln_2")):
            shared = values[f"{block.tower}.{place}.shared"]
            c, b = (values[f"{block.key}.{place}.{part}"] for part in ("scale", "shift"))

            def fn(
                _x: torch.Tensor,
                y: torch.Tensor,
                w: torch.Tensor = shared,
                c: torch.Tensor = c,
                b: torch.Tensor = b,
            ) -> torch.Tensor:
                return y + ((y @ w) * c) @ w.T + b

            adapter.after(block.site(norm), fn)
    return adapter


@pytest.mark.parametrize("build", ["flat", "custom", "bidirectional"])
def test_it_computes_what_the_paper_writes_after_the_norms(
    build: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny[build]
    adapter = moved(ARC(bottleneck=12), backbone)
    plain = written_out(backbone.clip, adapter)
    pixels, prompts = backbone.transform.normalise(images.pixels), backbone.prompts("{}", ("cat",))
    for encode, inputs in ((backbone.image, pixels), (backbone.text, prompts)):
        expected = encode(inputs, plain.bind())
        found = encode(inputs, adapter.bind())
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_fold_is_the_formula_of_the_paper(tiny: dict[str, Backbone]) -> None:
    backbone = tiny["flat"]
    adapter = moved(ARC(bottleneck=12), backbone)
    values = adapter.values()
    for place, name in (("attention", "qkv"), ("mlp", "fc")):
        site = backbone.clip.text.block(0).site(name)
        weight, bias = backbone.clip.weight(site), backbone.clip.bias(site)
        shared = values[f"text.{place}.shared"]
        c, b = values[f"text.0.{place}.scale"], values[f"text.0.{place}.shift"]
        whole = torch.eye(len(shared)) + shared @ torch.diag(c) @ shared.T
        new_weight, new_bias = adapter.bind().folded(site.key, weight, bias)
        torch.testing.assert_close(new_weight, weight @ whole, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(new_bias, F.linear(b, weight, bias), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("method", "same"),
    [
        (ARC(), False),
        (ARC(init="frozen"), True),
        (ARC(places=("attention",)), True),
        (ARC(places=("mlp",)), False),
    ],
)
def test_it_says_whether_it_starts_as_the_frozen_model(
    method: ARC, same: bool, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    adapter = method.attach(backbone.clip, task_of(backbone))
    pixels = backbone.transform.normalise(images.pixels)
    found = backbone.image(pixels, adapter.bind())
    assert torch.allclose(found, backbone.image(pixels), atol=1e-5) == method.identity == same


def test_counts() -> None:
    per_tower = [2 * (d * 50 + 12 * (50 + d)) for d in (768, 512)]
    assert per_tower == [96_432, 64_688]
    counts = run_output.count_parameters("arc", [], VIT, 100)
    assert counts["by_tower"] == {"image": 96_432, "text": 64_688, "shared": 0}
    assert counts["trainable"] == counts["stored"] == 161_120
    assert counts["inference"] == 0
    half = ["method.places=attention"]
    assert trainable("arc", *half) == 48_216 + 32_344
    head = 940 / 19 * 769  # the mean head of the 19 tasks that the published 0.13 M includes
    assert round((96_432 + head) / 1e6, 2) == 0.13


def test_it_needs_a_place(tiny: dict[str, Backbone]) -> None:
    backbone = tiny["flat"]
    with pytest.raises(UsageError, match=r"method\.places: name at least one"):
        ARC(places=()).attach(backbone.clip, task_of(backbone))
