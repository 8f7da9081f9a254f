"""Pairs put together for many sites at once, and one function for a map with a pair beside it."""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from methods.kit.binding import low_rank_kernels
from methods.kit.binding.linear import low_rank, plain_linear
from methods.kit.binding.low_rank_kernels import Layout

WIDTH, OUT, SITES = 6, 18, 3
THIRDS = ((0, 6), (6, 12), (12, 18))
LAYOUTS = {  # slots, scales, rows; the rank of each path
    "q, k, v": (Layout((0, 1, 2), (0.5,) * 3, THIRDS), (2, 2, 2)),
    "q and v": (Layout((0, 1), (0.5, 2.0), (THIRDS[0], THIRDS[2])), (2, 2)),
    "one down": (Layout((0, 0, 0), (1.0,) * 3, THIRDS), (2, 2, 2)),
    "one down, scaled": (Layout((0, 0, 0), (1.0, 2.0, 3.0), THIRDS), (2, 2, 2)),
    "one down, not all rows": (Layout((0, 0), (1.0, 1.0), THIRDS[:2]), (2, 2)),
    "whole": (Layout((0,), (1.0,), (None,)), (3,)),
    "whole, scaled": (Layout((0,), (0.5,), (None,)), (3,)),
    "two whole": (Layout((0, 1), (0.5, 1.0), (None, None)), (2, 2)),
    "two ranks": (Layout((0, 1), (0.5, 0.5), THIRDS[:2]), (2, 4)),
    "two down for three": (Layout((0, 0, 1), (1.0,) * 3, THIRDS), (2, 2, 2)),
}


@pytest.mark.parametrize("trials", [(), (2,)])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_pair_is_the_sum_of_its_paths(name: str, trials: tuple[int, ...]) -> None:
    layout, ranks = LAYOUTS[name]
    torch.manual_seed(0)
    of_slot = dict(zip(layout.slots, ranks, strict=True))
    downs = [[leaf(*trials, r, WIDTH) for r in of_slot.values()] for _ in range(SITES)]
    rows = [r or (0, OUT) for r in layout.rows]
    ups = [
        [leaf(*trials, stop - start, r) for (start, stop), r in zip(rows, ranks, strict=True)]
        for _ in range(SITES)
    ]
    owned = [t for each in (*downs, *ups) for t in each]
    loss, expected = torch.zeros(()), torch.zeros(())
    for i, (down, up) in enumerate(low_rank_kernels.pairs(downs, ups, layout, OUT)):
        whole = torch.zeros(*trials, OUT, WIDTH)
        paths = zip(layout.slots, layout.scales, rows, ups[i], strict=True)
        for slot, scale, (start, stop), part in paths:
            whole[..., start:stop, :] += scale * part @ downs[i][slot]
        torch.testing.assert_close(up @ down, whole)
        loss, expected = loss + (up @ down).sin().sum(), expected + whole.sin().sum()
    found, wanted = (torch.autograd.grad(value, owned) for value in (loss, expected))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lifted", ["", "pair", "all"])
def test_the_one_function_is_the_three_it_stands_for(lifted: str, bias: bool, masked: bool) -> None:
    torch.manual_seed(1)
    lead = (2,) if lifted else ()
    x = leaf(*(lead if lifted == "all" else ()), 5, WIDTH)
    x.requires_grad_(lifted != "pair")
    weight, b = torch.randn(OUT, WIDTH), torch.randn(OUT) if bias else None
    down, up = leaf(*lead, 2, WIDTH), leaf(*lead, OUT, 2)
    mask = torch.randint(0, 2, (*lead, 5, WIDTH)) / 0.5 if masked else None
    assert low_rank_kernels.fits(x, weight, b, down, up)
    with FlopCounterMode(display=False) as mine:
        y = low_rank_kernels.linear(x, weight, b, down, up, mask)
        y.sin().sum().backward()
    grads = [t.grad for t in (x, down, up)]
    for t in (x, down, up):
        t.grad = None
    with FlopCounterMode(display=False) as theirs:
        seen = x if mask is None else x * mask
        expected = low_rank(plain_linear(x, weight, b), seen, down, up)
        expected.sin().sum().backward()
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(grads, [t.grad for t in (x, down, up)])
    assert mine.get_total_flops() == theirs.get_total_flops() > 0


def test_what_trains_or_rounds_is_left_to_autograd() -> None:
    x, weight, down, up = leaf(5, WIDTH), torch.randn(OUT, WIDTH), leaf(2, WIDTH), leaf(OUT, 2)
    assert low_rank_kernels.fits(x, weight, None, down, up)
    assert not low_rank_kernels.fits(x, weight.requires_grad_(), None, down, up)
    weight = weight.detach()
    assert not low_rank_kernels.fits(x, weight, torch.zeros(OUT, requires_grad=True), down, up)
    assert not low_rank_kernels.fits(leaf(2, 5, WIDTH), weight, None, down, up)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not low_rank_kernels.fits(x, weight, None, down, up)


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, requires_grad=True)
