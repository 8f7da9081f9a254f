"""roof: our training step against the matrix products that it cannot do without.

The products of a real step are noted with their operands and then done again, alone, into buffers
that are there. Their time over that of the whole step is the share of the roof that is reached.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from methods.lora import LoRA
from tests.benchmarks.measure import Case
from tests.benchmarks.ours import B32, Trainer, backbone
from tests.benchmarks.registry import row

Product = tuple[Any, Tensor, Tensor]  # the function, and its two factors


class Products(TorchDispatchMode):
    """Notes every matrix product, those inside fused attention too."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Product] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        given = [a for a in args if isinstance(a, Tensor)]
        if name in ("mm", "bmm"):
            self.found.append((getattr(torch, name), *given))  # type: ignore[arg-type]
        elif name in ("addmm", "addmm_"):
            self.found.append((torch.mm, *given[1:3]))  # type: ignore[arg-type]
        elif _fused(name) and name.endswith("backward"):
            self.found += _attention(*given[1:4])[:1] * 2 + _attention(*given[1:4])[1:] * 2
        elif _fused(name):
            self.found += _attention(*given[:3])
        return func(*args, **(kwargs or {}))


def _fused(name: str) -> bool:
    """Whether it is attention in one kernel, on a CPU or a GPU."""
    return "flash_attention" in name or "efficient_attention" in name


def _attention(q: Tensor, k: Tensor, v: Tensor) -> list[Product]:
    """Scores, and the mean of values; the backward pass has two products of each of these sizes."""
    q, k, v = (t.flatten(0, 1) for t in (q, k, v))
    scores = q.new_zeros(*q.shape[:2], k.shape[1])
    return [(torch.bmm, q, k.mT), (torch.bmm, scores, v)]


class Floor:
    """The products of one step, done again."""

    def __init__(self, trainer: Trainer) -> None:
        with Products() as noted:
            trainer.step()
        self.products = noted.found
        self.results: dict[torch.Size, Tensor] = {}

    def __call__(self) -> None:
        with torch.no_grad():
            for product, a, b in self.products:
                shape = torch.Size((*a.shape[:-1], b.shape[-1]))
                into = self.results.get(shape)
                if into is None:
                    into = self.results[shape] = a.new_empty(shape)
                product(a, b, out=into)

    @property
    def operations(self) -> int:
        return sum(2 * a.numel() * b.shape[-1] for _, a, b in self.products)


@row("roof", "a whole training step of LoRA; the peer is its matrix products alone")
def cases(quick: bool) -> Iterator[Case]:
    method = LoRA(rank=4, dropout=0.0)
    geometries = (("embedded", 32, 10, 0.40), ("embedded", 32, 100, 0.40), (B32, 4, 10, 0.75))
    for name, images, classes, goal in geometries:
        trainer = Trainer(method, backbone(name), images, classes)
        floor = Floor(trainer)
        width = trainer.net.backbone.image.shape.width

        def check(trainer: Trainer = trainer, floor: Floor = floor) -> None:
            """The products are all there is: as many operations as torch counts."""
            from torch.utils.flop_counter import FlopCounterMode

            with FlopCounterMode(display=False) as counter:
                trainer.step()
            counted = counter.get_total_flops()
            assert abs(counted / floor.operations - 1) < 0.02, (counted, floor.operations)

        title = f"{name}, width {width}, {images} images, {classes} classes"
        arms = {"ours": trainer.step, "products alone": floor}
        yield Case(title, arms, check, {"products alone": goal}, facts={"flops": floor.operations})
