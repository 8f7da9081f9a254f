"""Options of a process that change the speed and memory of its runs, never their results."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from methods.kit.core.errors import UsageError

if TYPE_CHECKING:
    import torch

STEP_MODES = {
    "auto": "captured and replayed as CUDA graphs on a GPU, eager on a CPU",
    "eager": "computed one by one",
    "compiled": "captured, compiled by torch.compile, and replayed",
}
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_budget(word: str) -> int | None:
    """Bytes for ``off``, ``500MB`` or ``2.5GB``; None for ``auto``. Raises UsageError."""
    if word in ("auto", "off"):
        return None if word == "auto" else 0
    number, unit = word[:-2], word[-2:].upper()
    if unit in UNITS and number.replace(".", "", 1).isdecimal():
        return int(float(number) * UNITS[unit])
    raise UsageError(f"--cache {word!r}: expected auto, off, or a size such as 500MB or 4GB")


@dataclass(frozen=True)
class RunOptions:
    """The words of ``--steps`` and ``--cache``, and torch's threads (0: torch's own choice).

    Raises UsageError for an unknown word.
    """

    steps: str = "auto"
    cache: str = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        if self.steps not in STEP_MODES:
            raise UsageError(f"--steps {self.steps!r}: expected {', '.join(STEP_MODES)}")
        parse_budget(self.cache)

    def captures_steps(self, device: "torch.device") -> bool:
        """Whether steps on this device are captured and replayed."""
        return self.steps == "compiled" or (self.steps == "auto" and device.type == "cuda")


_current = RunOptions()


def current() -> RunOptions:
    """The options of this process."""
    return _current


def use(options: RunOptions) -> None:
    """Set the options of this process, before its first run."""
    global _current
    _current = options
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)


def for_worker(workers: int) -> RunOptions:
    """Return the options of each worker process, which gets its share of the threads."""
    import torch

    return replace(_current, threads=max(1, torch.get_num_threads() // workers))
