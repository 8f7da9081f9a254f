"""``ringbench view``: MLflow's pages over the ledger, and Optuna's over the sweeps, locally.

Each server runs under a warden (harness/cli/supervisor.py), so Ctrl-C, a terminal that closes or a
kill leaves none behind.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.cli import console
from harness.spec import paths
from harness.spec.paths import home_path, tracking_uri
from methods.kit.core.errors import UsageError

HOST = "127.0.0.1"
START = 120.0  # seconds that a server may take until it answers
SWEEPS = "sweeps.db"
DASHBOARD = "optuna_dashboard"
STORAGE = "RINGBENCH_VIEW_STORAGE"
MISSING = 'pip install "ringbench[view]"'


@dataclass(frozen=True)
class Page:
    """A server to start: what it shows, its command without the port, and its address."""

    name: str
    command: tuple[str, ...]
    port: int
    secret: tuple[tuple[str, str], ...] = ()  # of its environment: what no list of processes shows

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"


def serve(uri: str | None, port: int, storage: str | None = None) -> None:
    """Start the pages, print their addresses, and wait for Ctrl-C. A server that is there already
    is only named. ``storage`` is a database of sweeps instead of the file here. Raises UsageError.
    """
    if storage is not None and "://" not in storage:
        raise UsageError(f"--storage {storage!r}: expected an address, such as postgresql://...")
    uri = uri or tracking_uri()
    there = uri.startswith(("http://", "https://"))
    if there:
        console.out.print(f"MLflow: {uri}", soft_wrap=True)
    pages = [] if there else [_mlflow(uri, port)]
    pages += _sweeps(storage)
    with ExitStack() as stack, suppress(KeyboardInterrupt):  # that is how it is meant to end
        servers = [(page, *stack.enter_context(_running(page))) for page in pages]
        for page, server, log in servers:
            _until_it_answers(page, server, log)
            console.out.print(f"{page.name}: {page.address}", soft_wrap=True)
        if storage is None:
            _say_more()
        if servers:
            console.say("Ctrl-C ends")
            _watch(servers)


def _mlflow(uri: str, port: int) -> Page:
    path = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not path.is_file():
        raise UsageError(f"{path}: no ledger here yet; run `ringbench suite` or `ringbench run`")
    if "://" not in uri:
        raise UsageError(f"--tracking-uri {uri!r}: expected a database or server, as sqlite:///...")
    command = (sys.executable, "-m", "mlflow", "ui", "--host", HOST, "--workers", "1")
    return Page("MLflow", command, _port(port), (("MLFLOW_BACKEND_STORE_URI", uri),))


def _sweeps(storage: str | None) -> list[Page]:
    """Optuna's pages over sweeps, where there are any and what shows them is installed.

    The address is passed by the environment, as it may hold a password. Raises UsageError.
    """
    file = home_path() / SWEEPS
    if not importlib.util.find_spec(DASHBOARD):
        if storage is not None:
            raise UsageError(f"--storage: is shown after: {MISSING}")
        return []
    if storage is None and not file.is_file():
        return []
    program = (
        f"import os, sys; sys.argv.append(os.environ.pop({STORAGE!r}));"
        f" from {DASHBOARD}._cli import main; main()"
    )
    url = f"sqlite:///{file}" if storage is None else paths.with_driver(storage)
    command = (sys.executable, "-c", program, "--host", HOST)
    return [Page("Optuna", command, _port(0), ((STORAGE, url),))]


def _say_more() -> None:
    """Sweeps that are not shown: for want of a dashboard, or as they lie in another database."""
    if (home_path() / SWEEPS).is_file() and not importlib.util.find_spec(DASHBOARD):
        console.say(f"sweeps are shown too after: {MISSING}")
    facts = [json.loads(p.read_text()) for p in (home_path() / "sweeps").glob("*/sweep.json")]
    urls = {paths.without_password(str(f["storage"])) for f in facts if "storage" in f}
    for url in sorted(u for u in urls if not u.startswith("sqlite:///")):
        console.say(f"sweeps in another database: ringbench view --storage {url}")


def _port(wanted: int) -> int:
    """The port asked for, or for 0 a free one. Raises UsageError where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise UsageError(
                f"--port {wanted}: {error.strerror}; leave it out for a free one"
            ) from None
        return int(probe.getsockname()[1])


@contextmanager
def _running(page: Page) -> Iterator[tuple["subprocess.Popen[bytes]", IO[bytes]]]:
    """A server under its warden, with the file that its output goes to."""
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "GIT_PYTHON_REFRESH": "quiet"}
    command = [
        sys.executable,
        "-m",
        "harness.cli.supervisor",
        *page.command,
        "--port",
        str(page.port),
    ]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            env=quiet | dict(os.environ) | dict(page.secret) | {"PYTHONPATH": _path()},
        )  # fmt: skip
        try:
            yield server, log
        finally:
            assert server.stdin is not None
            server.stdin.close()
            server.wait()


def _path() -> str:
    """Where the warden finds this package, whatever the present folder is."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(p for p in (here, os.environ.get("PYTHONPATH", "")) if p)


def _until_it_answers(page: Page, server: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end:
        if server.poll() is not None:
            raise UsageError(f"{page.name} did not start: {_last_line(log)}")
        try:
            with urllib.request.urlopen(page.address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise UsageError(f"{page.name} does not answer after {START:.0f} s: {_last_line(log)}")


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing")


def _watch(servers: Sequence[tuple[Page, "subprocess.Popen[bytes]", IO[bytes]]]) -> None:
    """Until a server ends. Raises UsageError then."""
    while True:
        for page, server, log in servers:
            if server.poll() is not None:
                raise UsageError(f"{page.name} ended: {_last_line(log)}")
        time.sleep(0.5)
