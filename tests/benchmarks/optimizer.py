"""optim.flat: AdamW's step over LoRA's tensors, as one buffer, one kernel, or tensor by tensor."""

from collections.abc import Iterator

import torch
from torch import Tensor

from methods.lora import LoRA
from tests.benchmarks import device
from tests.benchmarks.measure import Case
from tests.benchmarks.ours import B32, attached, backbone
from tests.benchmarks.registry import row


@row("optim.flat", "one step of AdamW over LoRA of rank 4 on q, k, v of both towers of ViT-B/32")
def cases(quick: bool) -> Iterator[Case]:
    adapter = attached(LoRA(rank=4), backbone(B32), 2)
    shapes = [p.shape for p in adapter.parameters()]
    total = sum(s.numel() for s in shapes)
    rngs = (torch.Generator().manual_seed(i) for i in (0, 1))
    start, grad = (torch.randn(total, generator=rng).to(device.device()) for rng in rngs)

    def params(flat: bool) -> list[Tensor]:
        sizes = [total] if flat else [s.numel() for s in shapes]
        found = []
        for p, g in zip(start.split(sizes), grad.split(sizes), strict=True):
            found.append(p.clone().requires_grad_())
            found[-1].grad = g.clone()
        return found

    ways = {
        "one flat buffer, fused": (params(True), {"fused": True}),
        "fused, a tensor each": (params(False), {"fused": True}),
        "PyTorch's default": (params(False), {}),
    }
    steps = {name: torch.optim.AdamW(p, lr=1e-3, **how).step for name, (p, how) in ways.items()}

    def check() -> None:
        ends = []
        for name, (p, _) in ways.items():
            steps[name]()
            ends.append(torch.cat([t.detach().flatten() for t in p]))
        for other in ends[1:]:
            torch.testing.assert_close(ends[0], other, atol=1e-6, rtol=1e-5)

    name = f"{len(shapes)} tensors, {total:,} parameters"
    yield Case(name, steps, check, {"PyTorch's default": 5})
