"""Operations as torch's own counter counts them."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.evaluate.cost import OperationCounter
from harness.train.gradients import train_step
from tests.harness.train.test_step import ready


@pytest.mark.parametrize("name", ["lora", "adaring", "adamix", "vtagml", "linear_probe"])
def test_a_step_counts_as_in_torch(name: str) -> None:
    run, group, batch, teacher = ready(f"method={name}")
    with FlopCounterMode(display=False) as expected:
        train_step(run.net, group, batch, 0, 0.0, teacher)
    with OperationCounter() as found:
        train_step(run.net, group, batch, 0, 0.0, teacher)
    assert found.total == expected.get_total_flops() > 0


def test_convolutions_and_products_of_stacks() -> None:
    conv, x = torch.nn.Conv2d(3, 4, 3), torch.randn(2, 3, 8, 8)
    a = torch.randn(5, 2, 3, requires_grad=True)
    with FlopCounterMode(display=False) as expected:
        (conv(x).sum() + (a @ a.mT).sum()).backward()
    with OperationCounter() as found:
        (conv(x).sum() + (a @ a.mT).sum()).backward()
    assert found.total == expected.get_total_flops() > 0
