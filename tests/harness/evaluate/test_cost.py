"""Operations of a step, as they are counted while training."""

import pytest
import torch

from harness.evaluate.cost import Meter, count_operations
from harness.train.gradients import train_step
from tests.harness.train.test_step import ready


@pytest.mark.parametrize("name", ["lora", "adaring", "adamix", "vtagml", "linear_probe"])
def test_counting_does_not_change_a_step(name: str) -> None:
    results, meter = [], Meter()
    for counted in (True, False):
        run, group, batch, teacher = ready(f"method={name}")

        def step() -> torch.Tensor:
            return train_step(run.net, group, batch, 0, 0.0, teacher)[0]  # noqa: B023

        loss = count_operations(meter, step) if counted else step()
        results.append((loss, run.net.adapter.state()))
    assert meter.step_flops > 0
    (loss, state), (plain, expected) = results
    assert torch.equal(loss, plain)
    assert all(torch.equal(value, expected[key]) for key, value in state.items())


def test_forward_and_backward_are_counted() -> None:
    conv, x = torch.nn.Conv2d(3, 4, 3), torch.randn(2, 3, 8, 8)
    a = torch.randn(5, 2, 3, requires_grad=True)
    meter = Meter()
    count_operations(meter, lambda: (conv(x).sum() + (a @ a.mT).sum()).backward())
    convolution = 2 * (2 * 4 * 6 * 6) * (3 * 3 * 3)  # x needs no gradient, so once backward
    product = 2 * 5 * 2 * 3 * 2
    assert meter.step_flops == 2 * convolution + 3 * product
