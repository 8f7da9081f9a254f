"""Whether bf16 is faster than fp32 here: what ``backbone.precision=auto`` becomes in a spec."""

import hashlib
import time
from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F

from harness.data import pixel_cache
from harness.spec import environment
from methods.kit.binding.linear import plain_linear
from methods.kit.core.errors import UsageError

AUTO = "auto"
MIN_SPEEDUP = 1.2  # times as fast, or rounding is not worth it
ROWS = 512  # of a block's input: some images
ROUNDS = 5

Precision = Literal["fp32", "bf16"]


def auto_precision(name: str) -> Precision:
    """What is faster for a model where runs go by themselves: bf16 on a GPU that computes in it,
    and on a CPU where blocks as wide as the image tower's are clearly faster."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    from harness.model import backbone  # open_clip is slow to import, and seldom wanted here

    return (
        "bf16"
        if bf16_speedup(backbone.backbone_outline(name).image.width) >= MIN_SPEEDUP
        else "fp32"
    )


@cache
def bf16_speedup(width: int) -> float:
    """How many times as fast the products of a block of this width are in bf16 on this CPU.

    Measured once for a processor and version of torch, and remembered: a spec must not depend on
    what else the machine does.
    """
    where = (environment.device_name(torch.device("cpu")), torch.__version__, str(width))
    key = "bf16-" + hashlib.sha256("|".join(where).encode()).hexdigest()[:16]
    note = pixel_cache.read_note(key)
    if note is None:
        note = {
            "processor": where[0],
            "torch": where[1],
            "width": width,
            "gain": measure_speedup(width),
        }
        try:
            pixel_cache.write_note(key, note)
        except UsageError:  # nowhere to write: measured again next time
            return float(note["gain"])
    return float(note["gain"])


def measure_speedup(width: int) -> float:
    """Seconds in fp32 over seconds in bf16 of a block's products, forward and backward."""
    rng = torch.Generator().manual_seed(0)
    sizes = ((3 * width, width), (width, width), (4 * width, width), (width, 4 * width))
    weights = [torch.randn(*size, generator=rng) / size[1] ** 0.5 for size in sizes]
    x = torch.randn(ROWS, width, generator=rng, requires_grad=True)

    def run() -> None:
        qkv, out, up, down = weights
        y = plain_linear(plain_linear(x, qkv, None)[:, :width], out, None)
        y = F.layer_norm(x + y, (width,))
        y = y + plain_linear(F.gelu(plain_linear(y, up, None)), down, None)
        torch.autograd.grad(y.float().sum(), x)

    def half() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            run()

    for warm in (run, half):
        warm()
    pairs = [(_seconds(run), _seconds(half)) for _ in range(ROUNDS)]
    return sorted(whole / less for whole, less in pairs)[ROUNDS // 2]


def _seconds(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
