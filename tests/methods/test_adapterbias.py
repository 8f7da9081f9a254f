"""AdapterBias against its formula, its rank and its published counts."""

import pytest
import torch
import torch.nn.functional as F

from harness.data.split import Images
from harness.model.backbone import Backbone
from methods.adapterbias import AdapterBias
from methods.kit import Adapter
from tests.conftest import task_of
from tests.methods.test_parameter_counts import trainable

TOWERS = ((768, 12), (512, 12))


def moved(adapter: Adapter) -> Adapter:
    """With values that training could have given."""
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in adapter.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng))
    return adapter


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("norm", [False, True])
def test_every_token_is_shifted_along_v_by_alpha(
    share: bool, norm: bool, tiny: dict[str, Backbone]
) -> None:
    backbone = tiny["flat"]
    adapter = moved(AdapterBias(share=share, norm=norm).attach(backbone.clip, task_of(backbone)))
    site = backbone.clip.image.block(1).site("proj")
    weight, bias = backbone.clip.weight(site), backbone.clip.bias(site)
    h = torch.randn(5, weight.shape[1])
    values = adapter.values()
    alpha = values["image.alpha" if share else "image.1.alpha"][0]
    scalars = h @ alpha[:-1] + alpha[-1]
    expected = F.linear(h, weight, bias) + torch.outer(scalars, values["image.1.v"])
    found = adapter.bind().linear(site.key, h, weight, bias)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_fold_is_a_rank_one_update(tiny: dict[str, Backbone]) -> None:
    backbone = tiny["flat"]
    adapter = moved(AdapterBias().attach(backbone.clip, task_of(backbone)))
    for block in backbone.clip.blocks():
        site = block.site("proj")
        frozen = backbone.clip.weight(site)
        folded, _ = adapter.bind().folded(site.key, frozen, backbone.clip.bias(site))
        values = torch.linalg.svdvals((folded - frozen).double())
        assert values[0] > 0.01
        assert values[1] < 1e-5 * values[0]


def test_the_trained_norm_starts_as_the_frozen_one(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    adapter = AdapterBias(norm=True).attach(backbone.clip, task_of(backbone))
    pixels = backbone.transform.normalise(images.pixels)
    frozen = backbone.image(pixels)
    assert torch.allclose(backbone.image(pixels, adapter.bind()), frozen, atol=1e-5)


def test_counts() -> None:
    plain = {d: depth * (5 * d + 1) for d, depth in TOWERS}
    assert list(plain.values()) == [46_092, 30_732]
    assert trainable("adapterbias") == sum(plain.values()) == 76_824
    with_norm = sum(depth * (7 * d + 1) for d, depth in TOWERS)  # the published convention
    assert trainable("adapterbias", "method.norm=true") == with_norm == 76_824 + 18_432 + 12_288
    shared = sum(depth * d + 4 * d + 1 for d, depth in TOWERS)
    assert trainable("adapterbias", "method.share=true") == shared


def test_published_counts_are_those_with_the_norm() -> None:
    """BERT-base 0.06 M, BERT-large 0.17 M: layers x (7 d + 1)."""
    assert round(12 * (7 * 768 + 1) / 1e6, 2) == 0.06
    assert round(24 * (7 * 1024 + 1) / 1e6, 2) == 0.17
