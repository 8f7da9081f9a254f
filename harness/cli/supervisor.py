"""Runs a command that ends, with everything that it started, when whoever asked for it is gone.

``python -m harness.cli.supervisor COMMAND...``: the asker holds the other end of standard input. It
closes when the asker closes it or dies, also by kill -9, and then nothing is left.
"""

import signal
import subprocess
import sys
import threading

import psutil

PATIENCE = 5.0  # seconds between asking a process to end and ending it


def main(command: list[str]) -> int:
    """Run the command to its end, or to ours; returns its exit code."""
    gone = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: gone.set())
    threading.Thread(target=_listen, args=(gone,), daemon=True).start()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while child.poll() is None and not gone.wait(0.1):
        pass
    end_all(psutil.Process().children(recursive=True))
    return child.wait()


def end_all(processes: list[psutil.Process]) -> None:
    """Ask processes to end, and end those that do not."""
    for process in processes:
        _tell(process, signal.SIGTERM)
    for process in psutil.wait_procs(processes, PATIENCE)[1]:
        _tell(process, signal.SIGKILL)
    psutil.wait_procs(processes, PATIENCE)


def _listen(gone: threading.Event) -> None:
    sys.stdin.buffer.read()
    gone.set()


def _tell(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
