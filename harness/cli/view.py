"""``ringbench view``: MLflow's pages over the ledger and Optuna's over the sweeps, on this machine.

Each server leads a process group, in which a watcher ends everything when this process exits or is
killed: a pipe that this process holds closes then.
"""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.cli import console
from harness.spec import paths
from harness.spec.paths import home_path, tracking_uri
from methods.kit.core.errors import UsageError

HOST = "127.0.0.1"
START_SECONDS = 120.0  # until a server answers
SWEEPS = "sweeps.db"
DASHBOARD = "optuna_dashboard"
STORAGE = "RINGBENCH_VIEW_STORAGE"
MISSING = 'pip install "ringbench[view]"'
WATCHED = (  # a shell that becomes the server, after starting the watcher of its group
    "exec 3<&0; (read -r _ <&3; trap '' TERM; kill -TERM 0; sleep 5; kill -KILL 0) &"
    ' exec "$@" 3<&- </dev/null'
)
QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "GIT_PYTHON_REFRESH": "quiet"}


@dataclass
class Server:
    """One page: its command without the port, and the environment that no process list shows."""

    name: str
    command: tuple[str, ...]
    port: int
    secret: dict[str, str]

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the server; on exit nothing of its process group is left."""
        words = ["sh", "-c", WATCHED, "sh", *self.command, "--port", str(self.port)]
        with tempfile.TemporaryFile() as self.log:
            self.process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=self.log, stderr=self.log,
                env=QUIET | dict(os.environ) | self.secret, start_new_session=True,
            )  # fmt: skip
            try:
                yield
            finally:
                self._end()

    def _end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()  # the watcher has asked the group to end
        with suppress(ProcessLookupError):
            for _ in range(100):  # orphans of the server are gone when init has reaped them
                os.killpg(self.process.pid, signal.SIGKILL)
                time.sleep(0.05)

    def wait_until_ready(self) -> None:
        """Return when the page answers. Raises UsageError where it does not."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            self.check("did not start")
            try:
                with urllib.request.urlopen(self.address, timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        raise UsageError(
            f"{self.name} does not answer after {START_SECONDS:.0f} s: {self._last_line()}"
        )

    def check(self, problem: str) -> None:
        """Raise UsageError, with the problem and the server's last line, where it has ended."""
        if self.process.poll() is not None:
            raise UsageError(f"{self.name} {problem}: {self._last_line()}")

    def _last_line(self) -> str:
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


def serve(uri: str | None, port: int, storage: str | None = None) -> None:
    """Start the pages, print their addresses and wait for Ctrl-C.

    A tracking server that already runs is only named. ``storage`` is a database of sweeps to show
    instead of the local file. Raises UsageError.
    """
    if storage is not None and "://" not in storage:
        raise UsageError(f"--storage {storage!r}: expected an address, such as postgresql://...")
    uri = uri or tracking_uri()
    servers = _sweeps(storage)
    if uri.startswith(("http://", "https://")):
        console.out.print(f"MLflow: {uri}", soft_wrap=True)
    else:
        servers.insert(0, _mlflow(uri, port))
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        for server in servers:
            stack.enter_context(server.running())
        for server in servers:
            server.wait_until_ready()
            console.out.print(f"{server.name}: {server.address}", soft_wrap=True)
        if storage is None:
            _name_other_sweeps()
        if servers:
            console.say("Ctrl-C ends")
        while servers:
            for server in servers:
                server.check("ended")
            time.sleep(0.5)


def _mlflow(uri: str, port: int) -> Server:
    path = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not path.is_file():
        raise UsageError(f"{path}: no ledger here yet; run `ringbench suite` or `ringbench run`")
    if "://" not in uri:
        raise UsageError(f"--tracking-uri {uri!r}: expected a database or server, as sqlite:///...")
    command = (sys.executable, "-m", "mlflow", "ui", "--host", HOST, "--workers", "1")
    return Server("MLflow", command, _free_port(port), {"MLFLOW_BACKEND_STORE_URI": uri})


def _sweeps(storage: str | None) -> list[Server]:
    """Return Optuna's dashboard where it is installed and there are sweeps. Raises UsageError.

    The address of the database may hold a password, so it is passed in the environment.
    """
    file = home_path() / SWEEPS
    if not importlib.util.find_spec(DASHBOARD):
        if storage is not None:
            raise UsageError(f"--storage: needs the dashboard: {MISSING}")
        return []
    if storage is None and not file.is_file():
        return []
    program = (
        f"import os, sys; sys.argv.append(os.environ.pop({STORAGE!r}));"
        f" from {DASHBOARD}._cli import main; main()"
    )
    url = f"sqlite:///{file}" if storage is None else paths.with_driver(storage)
    command = (sys.executable, "-c", program, "--host", HOST)
    return [Server("Optuna", command, _free_port(0), {STORAGE: url})]


def _name_other_sweeps() -> None:
    """Name sweeps that are not shown: without a dashboard, or in another database."""
    if (home_path() / SWEEPS).is_file() and not importlib.util.find_spec(DASHBOARD):
        console.say(f"sweeps are shown after: {MISSING}")
    facts = [json.loads(p.read_text()) for p in (home_path() / "sweeps").glob("*/sweep.json")]
    urls = {paths.without_password(str(f["storage"])) for f in facts if "storage" in f}
    for url in sorted(u for u in urls if not u.startswith("sqlite:///")):
        console.say(f"sweeps in another database: ringbench view --storage {url}")


def _free_port(port: int) -> int:
    """Return the port, or for 0 any free one. Raises UsageError where it is taken."""
    try:
        with socket.create_server((HOST, port)) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        problem = os.strerror(error.errno or 0)
        raise UsageError(f"--port {port}: {problem}; leave it out for a free one") from None
