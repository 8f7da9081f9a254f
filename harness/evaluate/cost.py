"""What a method costs: parameters counted four ways, bytes, operations, time and memory."""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class OperationCounter(TorchDispatchMode):
    """A multiplication and an addition are two."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(getattr(func, "overloadpacket", func))
        if formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=out))
        return out


T = TypeVar("T")


# --- measured while training -----------------------------------------------------------------


@dataclass
class Meter:
    """What a training took, measured. Peak memory: CUDA's allocator, else the process's RSS."""

    train_seconds: float = 0.0
    step_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    step_flops: int = 0
    peak: "_CudaPeak | _ResidentPeak | None" = field(default=None, repr=False)
    _paused_seconds: float = 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is no part of the training: neither its time nor its memory."""
        began = time.perf_counter()
        if self.peak:
            self.peak.pause()
        try:
            yield
        finally:
            if self.peak:
                self.peak.resume()
            self._paused_seconds += time.perf_counter() - began

    def ended(self, seconds: float) -> None:
        """The training took so long, pauses included."""
        self.train_seconds = seconds - self._paused_seconds
        self.peak_bytes = self.peak.stop() if self.peak else 0

    @property
    def step_ms(self) -> float:
        """The median step, without the first, which warms up and is counted."""
        timed = sorted(self.step_seconds[1:] or self.step_seconds)
        return 1000 * timed[len(timed) // 2] if timed else 0.0

    def metrics(self) -> dict[str, float]:
        """As they are recorded."""
        return {
            "time/train_seconds": self.train_seconds,
            "time/step_ms": self.step_ms,
            "memory/peak_bytes": self.peak_bytes,
            "flops/step": self.step_flops,
        }


@contextmanager
def measure_training(device: torch.device) -> Iterator[Meter]:
    """Measure wall time and peak memory of what happens inside."""
    peak = _CudaPeak(device) if device.type == "cuda" else _ResidentPeak()
    meter = Meter(peak=peak)
    began = time.perf_counter()
    try:
        yield meter
    finally:
        meter.ended(time.perf_counter() - began)


def count_operations(meter: Meter, run: Callable[[], T]) -> T:
    """Run a step and count its floating-point operations, forward and backward."""
    with OperationCounter() as counter:
        result = run()
    meter.step_flops = counter.total
    return result


class _CudaPeak:
    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before = 0
        self.resume()

    def pause(self) -> None:
        self._before = self.stop()

    def resume(self) -> None:
        torch.cuda.reset_peak_memory_stats(self.device)

    def stop(self) -> int:
        return max(self._before, torch.cuda.max_memory_allocated(self.device))


class _ResidentPeak:
    """The largest resident set of this process: the kernel's own mark where it can be reset
    (Linux), else sampled every 10 ms."""

    def __init__(self) -> None:
        _trim_heap()
        self._most = 0  # of the samples, or of the marks before pauses
        self._done, self._away = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        if not self._reset_mark():
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()

    def pause(self) -> None:
        self._away.set()
        if self._thread is None:
            self._most = max(self._most, self._mark())

    def resume(self) -> None:
        _trim_heap()
        if self._thread is None:
            self._reset_mark()
        self._away.clear()

    def stop(self) -> int:
        if self._thread is None:
            return max(self._most, self._mark())
        self._done.set()
        self._thread.join()
        return self._most

    @staticmethod
    def _reset_mark() -> bool:
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return False
        return _ResidentPeak._mark() > 0

    @staticmethod
    def _mark() -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    def _sample(self) -> None:
        process = psutil.Process()
        while not self._done.is_set():
            if not self._away.is_set():
                self._most = max(self._most, process.memory_info().rss)
            self._done.wait(0.01)


def _trim_heap() -> None:
    """Give freed memory of earlier runs back, so that it is not counted for this one."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return
