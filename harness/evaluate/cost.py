"""Measured costs of a training: time, operations of a step, and peak memory."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.evaluate.peak_memory import CudaPeak, ResidentPeak

T = TypeVar("T")


@dataclass
class Meter:
    """Costs of a training. Peak memory is that of CUDA's allocator, or the process's RSS."""

    train_seconds: float = 0.0
    step_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    step_flops: int = 0
    peak: CudaPeak | ResidentPeak | None = field(default=None, repr=False)
    paused_seconds: float = 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude what happens inside from the time and the memory of the training."""
        began = time.perf_counter()
        if self.peak:
            self.peak.pause()
        try:
            yield
        finally:
            if self.peak:
                self.peak.resume()
            self.paused_seconds += time.perf_counter() - began

    @property
    def step_ms(self) -> float:
        """The median step, without the first, which warms up and is counted."""
        timed = sorted(self.step_seconds[1:] or self.step_seconds)
        return 1000 * timed[len(timed) // 2] if timed else 0.0

    def metrics(self) -> dict[str, float]:
        """The costs as they are recorded."""
        return {
            "time/train_seconds": self.train_seconds,
            "time/step_ms": self.step_ms,
            "memory/peak_bytes": self.peak_bytes,
            "flops/step": self.step_flops,
        }


@contextmanager
def measure_training(device: torch.device) -> Iterator[Meter]:
    """Measure time and peak memory of what happens inside."""
    peak = CudaPeak(device) if device.type == "cuda" else ResidentPeak()
    meter = Meter(peak=peak)
    began = time.perf_counter()
    try:
        yield meter
    finally:
        meter.train_seconds = time.perf_counter() - began - meter.paused_seconds
        meter.peak_bytes = peak.stop()


def count_operations(meter: Meter, run: Callable[[], T]) -> T:
    """Run a step and count its floating-point operations, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        result = run()
    meter.step_flops = counter.get_total_flops()
    return result
