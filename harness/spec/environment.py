"""The code, libraries and machine behind a number; the mark of the command's own processes."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


OWN_PROCESS = "RINGBENCH_COMMAND"  # in the environment of the command's own processes
LIBRARIES = ("ringbench", "torch", "torchvision", "open_clip_torch", "numpy", "pillow")


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that compute."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


@cache
def git_state() -> tuple[str, bool]:
    """Return (commit, dirty) of this code's checkout; ('unknown', False) outside of one."""
    root = Path(__file__).resolve().parents[2]

    def ask(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        if Path(ask("rev-parse", "--show-toplevel")).resolve() != root:
            return "unknown", False
        return ask("rev-parse", "HEAD"), bool(ask("status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", False


def device_name(device: "torch.device") -> str:
    """Return the name of the GPU or CPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    return _cpu_name()


@cache
def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def mark_own_process() -> None:
    """Mark this process and those it starts as the command's own."""
    os.environ[OWN_PROCESS] = "1"
