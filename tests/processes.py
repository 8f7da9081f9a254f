"""Commands that tests start as processes, to interrupt or kill them."""

import subprocess
import sys
from pathlib import Path

# A script that starts the tests in the background makes them ignore SIGINT, and every process that
# they start inherits that: these begin with Python's own handler, as at a terminal.
INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
COMMAND = "from harness.cli.main import main; main()"


def start_command(
    *words: str, before: str = "pass", stdout: int = subprocess.DEVNULL
) -> "subprocess.Popen[str]":
    """Start ``ringbench WORDS``, which Ctrl-C interrupts, after the statements ``before``."""
    script = f"{INTERRUPTIBLE}; {before}; {COMMAND}"
    return subprocess.Popen(
        [sys.executable, "-c", script, *words], stdout=stdout, stderr=subprocess.PIPE, text=True
    )


def worker_processes(pid: int) -> list[int]:
    """The ids of the workers that a process has spawned."""
    workers = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                workers.append(int(child))
        except OSError:  # it has just ended
            continue
    return workers
