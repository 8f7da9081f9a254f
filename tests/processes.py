"""Commands that tests start as processes, to interrupt or kill them."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import mkstemp

from harness.cli import main

# A script that starts the tests in the background makes them ignore SIGINT, and every process that
# they start inherits that: commands begin with Python's own handler, as at a terminal.
INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
COMMAND = "from harness.cli.main import main; main()"
PRELOADED = ["torch", "mlflow", "optuna", "sweeps.cli.output", "sweeps.suite.execute"]


def start_command(*words: str, stdout: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
    """Start ``ringbench WORDS`` in an interpreter of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", f"{INTERRUPTIBLE}; {COMMAND}", *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


class ForkedCommand:
    """``ringbench WORDS``, forked from a process that has imported the libraries once.

    It saves the seconds that an interpreter takes to start. ``before``: statements to run first.
    """

    def __init__(self, *words: str, before: str = "") -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        handle, name = mkstemp(suffix=".stderr")
        os.close(handle)
        self._shown = Path(name)
        arguments = (words, dict(os.environ), name, before)
        self._process = context.Process(target=_run_command, args=arguments)
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it and wait until it is gone."""
        self._process.kill()
        self._process.join()

    def finish(self, timeout: float = 600) -> str:
        """Wait for its end; return what it printed on stderr."""
        self._process.join(timeout)
        assert self.exit_code is not None, "it did not end in time"
        return self._shown.read_text()


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


def _run_command(words: tuple[str, ...], env: dict[str, str], shown: str, before: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    for name, stream in ((os.devnull, 1), (shown, 2)):
        os.dup2(os.open(name, os.O_WRONLY), stream)
    exec(before)
    main.main(list(words))
