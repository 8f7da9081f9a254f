"""The activation of OpenAI's weights against open_clip's module, and its gradient."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip.transformer import QuickGELU

from harness.model.activation import quick_gelu


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8))
def test_it_is_open_clips(values: list[float]) -> None:
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    theirs = x.detach().clone().requires_grad_()
    one, two = quick_gelu(x), QuickGELU()(theirs)
    torch.testing.assert_close(one, two, atol=1e-12, rtol=1e-12)
    one.sum().backward()
    two.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, theirs.grad, atol=1e-12, rtol=1e-9)


def test_its_gradient_is_that_of_differences() -> None:
    x = torch.linspace(-6, 6, 25, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(quick_gelu, (x,))


def test_it_holds_one_tensor_for_the_backward_pass() -> None:
    held: list[torch.Tensor] = []
    x = torch.randn(64, 8, requires_grad=True)

    def hold(t: torch.Tensor) -> torch.Tensor:
        held.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda t: t):
        quick_gelu(x)
    assert sum(t.numel() for t in held) == x.numel()
