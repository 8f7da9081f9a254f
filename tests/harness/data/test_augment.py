"""Batched augmentation against torchvision's, in distribution."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import InterpolationMode, RandomHorizontalFlip, RandomResizedCrop
from torchvision.transforms import functional as tv

from harness.data import augment

DRAWS = 4000
SETTINGS = [
    ((224, 224), 0.08, 4 / 3),
    ((60, 90), 0.3, 2.0),
    ((40, 10), 0.5, 4 / 3),  # no crop fits: the fallback at the centre
    ((32, 32), 1.0, 1.0),
]


def theirs(size: tuple[int, int], smallest: float, ratio: float) -> np.ndarray:
    """(draws, 4): top, left, height, width of torchvision's crops."""
    torch.manual_seed(1)
    image = torch.zeros(3, *size)
    scale, ratios = [smallest, 1.0], [1 / ratio, ratio]
    return np.array([RandomResizedCrop.get_params(image, scale, ratios) for _ in range(DRAWS)])


def ours(size: tuple[int, int], smallest: float, ratio: float) -> np.ndarray:
    rng = torch.Generator().manual_seed(2)
    return torch.stack(augment.draw_crops(DRAWS, *size, rng, smallest, ratio), 1).double().numpy()


@pytest.mark.parametrize(("size", "smallest", "ratio"), SETTINGS)
def test_crops_are_distributed_as_torchvisions(
    size: tuple[int, int], smallest: float, ratio: float
) -> None:
    a, b = ours(size, smallest, ratio), theirs(size, smallest, ratio)
    measures = {
        "area": lambda c: c[:, 2] * c[:, 3],
        "ratio": lambda c: c[:, 3] / c[:, 2],
        "top": lambda c: c[:, 0],
        "left": lambda c: c[:, 1],
        "middle": lambda c: c[:, 0] + c[:, 2] / 2,
    }
    for name, of in measures.items():
        assert stats.ks_2samp(of(a), of(b)).pvalue > 1e-3, name
    assert (a[:, 0] >= 0).all()
    assert (a[:, 0] + a[:, 2] <= size[0]).all()
    assert (a[:, 1] + a[:, 3] <= size[1]).all()


def test_another_scale_would_be_noticed() -> None:
    a, b = ours((224, 224), 0.08, 4 / 3), theirs((224, 224), 0.14, 4 / 3)
    assert stats.ks_2samp(a[:, 2] * a[:, 3], b[:, 2] * b[:, 3]).pvalue < 1e-6


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_as_many_are_mirrored_as_torchvision_mirrors(share: float) -> None:
    flipped = augment.draw_flips(DRAWS, torch.Generator().manual_seed(3), share).sum().item()
    torch.manual_seed(4)
    flip = RandomHorizontalFlip(share)
    image = torch.tensor([[[0.0, 1.0]]])
    other = sum(bool(flip(image)[0, 0, 0]) for _ in range(DRAWS))
    if share in (0.0, 1.0):
        assert flipped == other == share * DRAWS
    else:
        table = [[flipped, DRAWS - flipped], [other, DRAWS - other]]
        assert stats.fisher_exact(table).pvalue > 1e-3


def test_a_crop_shows_what_torchvision_shows_for_the_same_box() -> None:
    n, side = 16, 32
    ramp = torch.linspace(0, 1, side)
    x = torch.stack(
        [ramp.expand(side, side), ramp[:, None].expand(side, side), torch.ones(side, side)]
    )
    x = x.expand(n, 3, side, side).contiguous()
    maps = augment.draw_maps(n, (side, side), torch.Generator().manual_seed(5), 0.3, 1.5, 0.5)
    got = augment.warp(x, maps)
    rng = torch.Generator().manual_seed(5)
    top, left, h, w = augment.draw_crops(n, side, side, rng, 0.3, 1.5)
    mirror = augment.draw_flips(n, rng, 0.5)
    assert 0 < mirror.sum() < n
    for i in range(n):
        box = [int(v[i]) for v in (top, left, h, w)]
        expected = tv.resized_crop(x[i], *box, [side, side], InterpolationMode.BILINEAR)
        expected = expected.flip(-1) if mirror[i] else expected
        inside = (slice(None), slice(2, -2), slice(2, -2))  # edges: they repeat, we reflect
        torch.testing.assert_close(got[i][inside], expected[inside], atol=1e-4, rtol=0)


def test_without_crop_or_mirror_images_stay_as_they_are() -> None:
    x = torch.rand(4, 3, 20, 20)
    maps = augment.draw_maps(4, (20, 20), torch.Generator().manual_seed(0), 1.0, 1.0, 0.0)
    same = augment.warp(x, maps)
    torch.testing.assert_close(same, x, atol=1e-5, rtol=0)


def test_ratios_are_even_in_their_logarithm() -> None:
    crops = ours((2000, 2000), 0.2, 2.0)
    logs = np.log(crops[:, 3] / crops[:, 2]) / math.log(2.0)
    small = crops[:, 2] * crops[:, 3] < 0.45 * 2000**2  # none of these is turned away
    assert stats.kstest((logs[small] + 1) / 2, "uniform").pvalue > 1e-3
