"""What a training step does, counted and not timed: the same on every machine.

Operations and dispatched kernels of a step on ViT-B/16 without its numbers (the meta device), where
attention is counted as its two products; and the bytes that are held for the backward pass.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from harness import anatomy
from harness import backbone as backbones
from harness.tower import Prompts, Tower
from methods.kit.adapter import Method, Task, stack
from methods.lora import LoRA
from tests.benchmarks import peers

MODEL = "ViT-B-16"
RANK, BATCH = 4, 32
TEMPLATE = "a photo of a {}."
WORDS = (  # names of one to four words, as classes of ImageNet have them
    "tench", "great white shark", "hammerhead", "bald eagle", "European fire salamander", "loggerhead",
    "magnifying glass", "street sign", "red fox", "grand piano", "airliner", "paper towel",
)  # fmt: skip


def names(count: int) -> list[str]:
    """Names of classes, all different."""
    return [f"{WORDS[i % len(WORDS)]} {chr(97 + i // len(WORDS) % 26)}" for i in range(count)]


class Launches(TorchDispatchMode):
    """Counts dispatched operations that are no views: each is a kernel on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returns = func._schema.returns
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in returns)
        if not view and func.overloadpacket.__name__ != "_unsafe_view":
            self.found[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))
