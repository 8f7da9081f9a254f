"""Choice of ``backbone.precision=auto``: bf16 where it is clearly faster than fp32."""

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
MIN_SPEEDUP = 1.2  # below, rounding is not worth it
ROWS = 512  # of a block's input: some images
ROUNDS = 5

Precision = Literal["fp32", "bf16"]


def auto_precision(name: str) -> Precision:
    """Return the precision for a model: bf16 on a GPU that supports it, and on a CPU where blocks
    as wide as the image tower's are clearly faster."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    from harness.model import backbone  # open_clip is slow to import, and seldom needed here

    width = backbone.backbone_outline(name).image.width
    return "bf16" if bf16_speedup(width) >= MIN_SPEEDUP else "fp32"


@cache
def bf16_speedup(width: int) -> float:
    """Return how many times as fast this CPU computes a block of this width in bf16.

    Measured once per processor and version of torch and stored: a spec must not depend on what else
    the machine does.
    """
    where = (environment.device_name(torch.device("cpu")), torch.__version__, str(width))
    key = "bf16-" + hashlib.sha256("|".join(where).encode()).hexdigest()[:16]
    note = pixel_cache.read_note(key)
    if note is None:
        speedup = measure_speedup(width)
        note = {"processor": where[0], "torch": where[1], "width": width, "gain": speedup}
        try:
            pixel_cache.write_note(key, note)
        except UsageError:  # nowhere to write: measured again next time
            return speedup
    return float(note["gain"])


def measure_speedup(width: int) -> float:
    """Return seconds in fp32 over seconds in bf16 of a block's products, forward and backward."""
    rng = torch.Generator().manual_seed(0)
    sizes = ((3 * width, width), (width, width), (4 * width, width), (width, 4 * width))
    qkv, out, up, down = (torch.randn(*size, generator=rng) / size[1] ** 0.5 for size in sizes)
    x = torch.randn(ROWS, width, generator=rng, requires_grad=True)

    def fp32() -> None:
        y = plain_linear(plain_linear(x, qkv, None)[:, :width], out, None)
        y = F.layer_norm(x + y, (width,))
        y = y + plain_linear(F.gelu(plain_linear(y, up, None)), down, None)
        torch.autograd.grad(y.float().sum(), x)

    def bf16() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            fp32()

    fp32()
    bf16()
    pairs = [(_seconds(fp32), _seconds(bf16)) for _ in range(ROUNDS)]
    return sorted(slow / fast for slow, fast in pairs)[ROUNDS // 2]


def _seconds(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
