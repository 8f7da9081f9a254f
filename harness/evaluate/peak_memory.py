"""Peak memory of a training, on the device or in the process; pauses are not part of it."""

import ctypes
import threading
from pathlib import Path

import psutil
import torch


class CudaPeak:
    """The peak of CUDA's allocator."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before_pause = 0
        self.resume()

    def pause(self) -> None:
        self._before_pause = self.stop()

    def resume(self) -> None:
        torch.cuda.reset_peak_memory_stats(self.device)

    def stop(self) -> int:
        return max(self._before_pause, torch.cuda.max_memory_allocated(self.device))


class ResidentPeak:
    """The largest resident set of this process: the kernel's mark where it can be reset (Linux),
    else sampled every 10 ms."""

    def __init__(self) -> None:
        _trim_heap()
        self._peak = 0  # of the samples, or of the marks before pauses
        self._stopped, self._paused = threading.Event(), threading.Event()
        self._sampler: threading.Thread | None = None
        if not _reset_mark():
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()

    def pause(self) -> None:
        self._paused.set()
        if self._sampler is None:
            self._peak = max(self._peak, _mark())

    def resume(self) -> None:
        _trim_heap()
        if self._sampler is None:
            _reset_mark()
        self._paused.clear()

    def stop(self) -> int:
        if self._sampler is None:
            return max(self._peak, _mark())
        self._stopped.set()
        self._sampler.join()
        return self._peak

    def _sample(self) -> None:
        process = psutil.Process()
        while not self._stopped.is_set():
            if not self._paused.is_set():
                self._peak = max(self._peak, process.memory_info().rss)
            self._stopped.wait(0.01)


def _reset_mark() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return _mark() > 0


def _mark() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _trim_heap() -> None:
    """Give freed memory of earlier runs back, so that it is not counted for this one."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return
