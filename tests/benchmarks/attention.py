"""An explicit softmax against torch's fused attention on this CPU, forward and backward.

python tests/benchmarks/attention.py

The tower uses the fused kernel: on the CPUs tried with torch 2.15 it was never slower (0.66 to
0.97 of the explicit time between 17 and 257 tokens, fp32). Run this where that may differ.
"""

import random
import statistics
import time

import torch
from torch import Tensor

from harness.tower import attend

ROUNDS = 9
GEOMETRIES = [  # (sequences, tokens, width, heads)
    (32, 17, 160, 5),
    (8, 50, 768, 12),
    (8, 77, 512, 8),
    (4, 128, 512, 8),
    (4, 197, 768, 12),
    (2, 257, 1024, 16),
]


def explicit(q: Tensor, k: Tensor, v: Tensor, n: int, heads: int) -> Tensor:
    """Attention over rows as two products and a softmax."""
    q, k, v = (t.unflatten(-1, (heads, -1)).unflatten(0, (n, -1)) for t in (q, k, v))
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    scores = (q * q.shape[-1] ** -0.5) @ k.mT
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2).flatten(0, 1)


def seconds(name: str, inputs: list[Tensor], n: int, heads: int) -> float:
    for x in inputs:
        x.grad = None
    began = time.perf_counter()
    y = explicit(*inputs, n, heads) if name == "explicit" else attend(*inputs, n, heads, False)
    y.sum().backward()
    return time.perf_counter() - began


def ratios(n: int, length: int, width: int, heads: int) -> list[float]:
    """Fused over explicit time, one number a round, the two in random order in each."""
    inputs = [torch.randn(n * length, width, requires_grad=True) for _ in range(3)]
    mine = attend(*inputs, n, heads, False)
    torch.testing.assert_close(explicit(*inputs, n, heads), mine, atol=1e-5, rtol=1e-4)
    found = []
    for i in range(ROUNDS + 2):
        order = random.sample(["explicit", "fused"], 2)
        took = {name: seconds(name, inputs, n, heads) for name in order}
        if i >= 2:  # two rounds warm up
            found.append(took["fused"] / took["explicit"])
    return found


def main() -> None:
    torch.set_num_threads(1)
    print("fused / explicit time (below 1: fused is faster); quartiles of paired rounds")
    for geometry in GEOMETRIES:
        low, middle, high = statistics.quantiles(ratios(*geometry), n=4)
        print(f"{geometry}: {low:.2f} {middle:.2f} {high:.2f}")


if __name__ == "__main__":
    main()
