"""attention: the kernel that a tower takes against the other one, forward and backward.

The tower takes torch's fused kernel in fp32, and two products and a softmax in bf16 on a CPU.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.model import attention
from tests.benchmarks import device
from tests.benchmarks.measure import Arm, Case
from tests.benchmarks.registry import row

GEOMETRIES = (  # sequences, heads, tokens, head width
    (32, 5, 17, 32),
    (8, 12, 50, 64),
    (4, 12, 197, 64),
)
KERNELS = {"fused": F.scaled_dot_product_attention, "explicit": attention._explicit}


@row("attention", "attention of one block, forward and backward, by the kernel that we take")
def cases(quick: bool) -> Iterator[Case]:
    half = "explicit" if device.on_cpu() else "fused"
    for dtype, taken in ((torch.float32, "fused"), (torch.bfloat16, half)):
        for shape in GEOMETRIES[:1] if quick else GEOMETRIES:
            inputs = [_leaf(shape, dtype) for _ in range(3)]
            near = 1e-5 if dtype == torch.float32 else 2e-2

            def check(inputs: list[Tensor] = inputs, near: float = near) -> None:
                one, two = (kernel(*inputs, None, False) for kernel in KERNELS.values())
                torch.testing.assert_close(one, two, atol=near, rtol=near)

            other = next(name for name in KERNELS if name != taken)
            arms = {taken: _arm(taken, inputs), other: _arm(other, inputs)}
            kind, sizes = str(dtype).removeprefix("torch."), f"{shape[0]} x {shape[1]} heads"
            yield Case(f"{kind}, {sizes}, {shape[2]} tokens", arms, check)


def _leaf(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Queries, keys or values (sequences, heads, tokens, head width)."""
    return torch.randn(shape, dtype=dtype, device=device.device(), requires_grad=True)


def _arm(name: str, inputs: list[Tensor]) -> Arm:
    def run() -> None:
        for x in inputs:
            x.grad = None
        KERNELS[name](*inputs, None, False).sum().backward()

    return run
