"""Attention by torch's fused kernel against two products and a softmax, on this CPU.

python tests/benchmarks/attention.py

The tower takes the faster one: fused in fp32 (0.6 to 1.3 of the explicit time between 17 and 257
tokens on the CPUs tried with torch 2.15, medians), explicit in bf16 (fused took 2 to 10 times as
long). Run this where that may differ.
"""

import random
import statistics
import time

import torch
from torch import Tensor

from harness import attention

ROUNDS = 9
GEOMETRIES = [  # (sequences, heads, tokens, head width)
    (32, 5, 17, 32),
    (512, 5, 17, 32),
    (8, 12, 50, 64),
    (8, 8, 77, 64),
    (4, 12, 197, 64),
    (2, 16, 257, 64),
]
WAYS = {"fused": attention._fused, "explicit": attention._explicit}


def seconds(name: str, inputs: list[Tensor]) -> float:
    for x in inputs:
        x.grad = None
    began = time.perf_counter()
    WAYS[name](*inputs, None, False).sum().backward()
    return time.perf_counter() - began


def ratios(geometry: tuple[int, ...], dtype: torch.dtype) -> list[float]:
    """Fused over explicit time, one number a round, the two in random order in each."""
    inputs = [torch.randn(geometry, dtype=dtype, requires_grad=True) for _ in range(3)]
    near = 1e-5 if dtype == torch.float32 else 2e-2
    fused, explicit = (WAYS[name](*inputs, None, False) for name in ("fused", "explicit"))
    torch.testing.assert_close(fused, explicit, atol=near, rtol=near)
    found = []
    for i in range(ROUNDS + 2):
        order = random.sample(sorted(WAYS), 2)
        took = {name: seconds(name, inputs) for name in order}
        if i >= 2:  # two rounds warm up
            found.append(took["fused"] / took["explicit"])
    return found


def main() -> None:
    torch.set_num_threads(1)
    print("fused / explicit time (below 1: fused is faster); quartiles of paired rounds")
    for dtype in (torch.float32, torch.bfloat16):
        for geometry in GEOMETRIES:
            low, middle, high = statistics.quantiles(ratios(geometry, dtype), n=4)
            print(f"{dtype} {geometry}: {low:.2f} {middle:.2f} {high:.2f}")


if __name__ == "__main__":
    main()
