"""What a method costs: parameters counted four ways, bytes, operations, time and memory."""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch

from harness import anatomy
from harness.operations import Operations
from methods.kit.adapter import Adapter, Method, Task
from methods.kit.start import Start

T = TypeVar("T")

PROMPT_TOKENS = 16  # stands in for the prompts where only shapes matter


@dataclass(frozen=True)
class Counts:
    """Parameters of an adapter.

    trainable: what the optimiser sees. stored: what the saved adapter holds. inference: what is
    left to compute with after everything that folds is folded. head: the part of ``trainable``
    that depends on the classes; it is in no tower.
    """

    trainable: int
    stored: int
    inference: int
    head: int
    by_tower: dict[str, int]
    by_part: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def count(adapter: Adapter) -> Counts:
    """Count the parameters of an adapter; works on the meta device."""
    trained = {name: p.numel() for name, p in adapter.trained().items()}
    by_tower = {
        tower: sum(n for name, n in trained.items() if name.split(".")[0] == tower)
        for tower in ("image", "text", "shared")
    }
    by_part: dict[str, int] = {}
    for name, n in trained.items():
        by_part[part_of(name)] = by_part.get(part_of(name), 0) + n
    return Counts(
        trainable=sum(trained.values()),
        stored=sum(v.numel() for v in adapter.saved().values()),
        inference=0 if adapter.foldable else sum(t.numel() for t in adapter.bind().used()),
        head=sum(n for name, n in trained.items() if name.startswith("head")),
        by_tower=by_tower,
        by_part=by_part,
    )


def part_of(name: str) -> str:
    """``q.down`` for ``image.0.q.down``: a name without its tower and block number."""
    tower, *rest = name.split(".")
    kept = [piece for piece in rest if not piece.isdigit()]
    return ".".join([tower, *kept] if tower == "head" else kept)


def outline(
    method: Method,
    parts: anatomy.Anatomy,
    classes: int,
    start: Start | None = None,
    tasks: Sequence[str] = (),
) -> Counts:
    """The counts of a method on a model without its numbers."""
    with torch.device("meta"):
        return count(attached(method, parts, classes, start, tasks))


def attached(
    method: Method,
    parts: anatomy.Anatomy,
    classes: int,
    start: Start | None = None,
    tasks: Sequence[str] = (),
) -> Adapter:
    """A method on a model without its numbers (on the meta device)."""
    with torch.device("meta"):
        names = tuple(f"class {i}" for i in range(classes))
        tokens = torch.zeros(classes, PROMPT_TOKENS, dtype=torch.long)
        task = Task(names, "{}", tokens, start=start, tasks=tuple(tasks))
        return method.attach(parts.clip, task)


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
def measuring(device: torch.device) -> Iterator[Meter]:
    """Measure wall time and peak memory of what happens inside."""
    peak = _CudaPeak(device) if device.type == "cuda" else _ResidentPeak()
    meter = Meter(peak=peak)
    began = time.perf_counter()
    try:
        yield meter
    finally:
        meter.ended(time.perf_counter() - began)


def counted(meter: Meter, run: Callable[[], T]) -> T:
    """Run a step and count its floating-point operations, forward and backward."""
    with Operations() as counter:
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
