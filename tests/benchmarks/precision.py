"""bf16: a training step in bf16 against fp32, by width."""

from collections.abc import Iterator

import torch

from methods.lora import LoRA
from tests.benchmarks import device
from tests.benchmarks.measure import Case
from tests.benchmarks.ours import B32, Trainer, backbone
from tests.benchmarks.registry import row


@row("bf16", "a training step of LoRA under bf16 autocast; above 1 it is faster than fp32")
def cases(quick: bool) -> Iterator[Case]:
    for name, images in (("embedded", 32), (B32, device.images(4))):
        method = LoRA(rank=4, dropout=0.0)
        half = Trainer(method, backbone(name, "bf16"), images, 10)
        whole = Trainer(method, backbone(name), images, 10)

        def check(half: Trainer = half, whole: Trainer = whole) -> None:
            """Nearly the same loss: bf16 rounds to 8 bits."""
            torch.testing.assert_close(half.step(), whole.step(), atol=0.2, rtol=0.1)

        width = whole.net.backbone.image.shape.width
        title = f"{name}, width {width}, {images} images"
        yield Case(title, {"bf16": half.step, "fp32": whole.step}, check)
