"""LoRA at a site against peft's LoRA on the same linear weights."""

from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from methods.kit import Ref
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.binding.linear import FOLD_ABOVE
from methods.kit.binding.randomness import LEVELS, Noise
from methods.kit.binding.wiring import Add, Attached, Wiring

KEY = ("image", 0, "fc")
D_IN, D_OUT, ROWS = 48, 60, 10


def site(
    down: Tensor, up: Tensor, scale: float, dropout: float = 0.0
) -> tuple[Wiring, dict[str, Tensor]]:
    """A wiring with one low-rank path on one linear site."""
    add = Add(Ref("d"), Ref("u"), scale, dropout, None)
    return Wiring(sites={KEY: Attached(adds=[add])}), {"d": down, "u": up}


@pytest.mark.parametrize("rslora", [True, False])
@pytest.mark.parametrize("rank", [1, 4, 20])  # 20 is above the folding threshold
def test_same_outputs_and_gradients_as_peft(rank: int, rslora: bool) -> None:
    assert (rank > FOLD_ABOVE * D_IN) == (rank == 20)
    torch.manual_seed(0)
    linear = nn.Linear(D_IN, D_OUT)
    weight, bias = linear.weight.detach().clone(), linear.bias.detach().clone()
    config = LoraConfig(r=rank, lora_alpha=3, use_rslora=rslora, target_modules=["0"])
    theirs = get_peft_model(nn.Sequential(linear), config)
    layer = theirs.base_model.model[0]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    with torch.no_grad():
        b.normal_()
    down, up = a.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    x = torch.randn(ROWS, D_IN)
    x1, x2 = x.clone().requires_grad_(), x.clone().requires_grad_()
    wiring, values = site(down, up, 3 / (rank**0.5 if rslora else rank))
    ours = BoundAdapter(wiring, values).linear(KEY, x1, weight, bias)
    peft = theirs(x2)
    torch.testing.assert_close(ours, peft, atol=1e-5, rtol=1e-5)
    ours.sin().sum().backward()
    peft.sin().sum().backward()
    for mine, other in ((down.grad, a.grad), (up.grad, b.grad), (x1.grad, x2.grad)):
        assert mine is not None
        assert other is not None
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)


def test_folded_weights_give_the_same_output() -> None:
    torch.manual_seed(1)
    weight, bias, x = torch.randn(D_OUT, D_IN), torch.randn(D_OUT), torch.randn(ROWS, D_IN)
    wiring, values = site(torch.randn(3, D_IN), torch.randn(D_OUT, 3), 0.5)
    bound = BoundAdapter(wiring, values)
    new_weight, new_bias = bound.folded(KEY, weight, bias)
    torch.testing.assert_close(
        bound.linear(KEY, x, weight, bias),
        nn.functional.linear(x, new_weight, new_bias),
        atol=1e-4,
        rtol=1e-4,
    )


def test_dropout_acts_on_the_low_rank_path_alone_and_only_in_training() -> None:
    torch.manual_seed(2)
    weight, bias = torch.randn(D_OUT, D_IN), torch.randn(D_OUT)
    down, up, x = torch.randn(3, D_IN), torch.randn(D_OUT, 3), torch.randn(ROWS, D_IN)
    wiring, values = site(down, up, 0.5, dropout=0.4)
    noise = Noise(seed_of := 7, step=3)
    trained = BoundAdapter(wiring, values, noise=noise).linear(KEY, x, weight, bias)
    mask = Noise(seed_of, 3).dropout((*KEY, 0.4), (ROWS, D_IN), 0.4)
    expected = x @ weight.T + bias + 0.5 * ((x * mask) @ down.T @ up.T)
    torch.testing.assert_close(trained, expected, atol=1e-4, rtol=1e-4)
    kept = 1 - round(0.4 * LEVELS) / LEVELS
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / kept])
    tested = BoundAdapter(wiring, values).linear(KEY, x, weight, bias)
    torch.testing.assert_close(
        tested, x @ weight.T + bias + 0.5 * (x @ down.T @ up.T), atol=1e-4, rtol=1e-4
    )


def test_the_noise_of_a_trial_does_not_depend_on_its_company() -> None:
    together = Noise([3, 8], step=5).dropout("site", (4, 6), 0.25)
    assert torch.equal(together[1], Noise(8, step=5).dropout("site", (4, 6), 0.25))
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(together[0], Noise(3, step=6).dropout("site", (4, 6), 0.25))


def test_many_rows_without_gradients_meet_one_merged_weight() -> None:
    torch.manual_seed(0)
    wiring, values = site(torch.randn(3, D_IN), torch.randn(D_OUT, 3), 0.5)
    weight, bias, x = torch.randn(D_OUT, D_IN), torch.randn(D_OUT), torch.randn(200, D_IN)
    bound = BoundAdapter(wiring, values)
    expected = bound.linear(KEY, x, weight, bias)
    with torch.no_grad():
        found, flops = counted(lambda: bound.linear(KEY, x, weight, bias))
        again, less = counted(lambda: bound.linear(KEY, x[:150], weight, bias, rows=(5, 20)))
        few, paths = counted(lambda: bound.linear(KEY, x[:10], weight, bias))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(again, expected[:150, 5:20], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(few, expected[:10], atol=1e-5, rtol=1e-5)
    assert flops == 2 * D_IN * D_OUT * (200 + 3)
    assert less == 2 * D_IN * 15 * 150  # made once
    assert paths == 2 * 10 * (D_IN * D_OUT + 3 * (D_IN + D_OUT))


def counted(run: Callable[[], Tensor]) -> tuple[Tensor, int]:
    with FlopCounterMode(display=False) as counter:
        y = run()
    return y, int(counter.get_total_flops())
