"""Masks of dropout: how often they are 0, their mean of 1, and that entries are independent."""

import pytest
import torch

from methods.kit.binding.randomness import LEVELS, generator, mask


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.25, 0.5, 0.9, 0.999])
def test_a_mask_drops_as_often_as_it_should_and_keeps_the_mean(rate: float) -> None:
    drawn = mask((1000, 999), rate, generator("mask", rate))
    kept = drawn != 0
    deviation = (rate * (1 - rate) / drawn.numel()) ** 0.5
    assert abs((~kept).double().mean() - rate) < 5 * deviation + 2**-16
    assert drawn.dtype == torch.float32
    assert len(drawn.unique()) == 2
    size = float(drawn.max())
    assert size == pytest.approx(1 / (1 - round(rate * LEVELS) / LEVELS))
    assert drawn.double().mean() == pytest.approx(1, abs=5 * deviation * size + 1e-6)


def test_a_rate_near_one_still_keeps_something() -> None:
    drawn = mask((1000, 1000), 0.999999, generator("rare"))
    assert drawn.unique().tolist() == [0, LEVELS]


def test_entries_that_are_drawn_together_do_not_know_of_each_other() -> None:
    """Four entries share a number."""
    kept = (mask((40000, 4), 0.5, generator("lanes")) != 0).double()
    correlations = torch.corrcoef(kept.T).fill_diagonal_(0)
    assert correlations.abs().max() < 5 / 40000**0.5
    assert kept.mean(0).sub(0.5).abs().max() < 5 * 0.5 / 40000**0.5


def test_a_mask_is_its_generators_and_of_any_size() -> None:
    one, same, other = (mask((3, 7), 0.4, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert mask((0, 5), 0.4, generator(1)).shape == (0, 5)
