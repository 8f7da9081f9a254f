"""``ringbench view`` as a process: its pages answer, and nothing outlives it."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import psutil
import pytest

from harness.cli import main
from tests.processes import start_command


@pytest.fixture
def home(store: Path, own_home: Path) -> Path:
    """A ledger, empty but whole."""
    own_home.mkdir()
    shutil.copy(store, own_home / "mlflow.db")
    return own_home


@contextmanager
def viewing(pages: int, *words: str) -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    """The command while it runs, with the addresses that it prints."""
    process = start_command("view", *words, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(pages)]
        yield process, [found[0] for line in lines if (found := re.search(r"http://\S+", line))]
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def answer(address: str) -> tuple[int, str]:
    with urllib.request.urlopen(address, timeout=30) as reply:
        return reply.status, reply.read().decode()


def test_the_pages_answer_and_ctrl_c_ends_every_process(home: Path) -> None:
    optuna.create_study(storage=f"sqlite:///{home}/sweeps.db", study_name="mine")
    with viewing(pages=2) as (process, addresses):
        mlflow, sweeps = addresses
        assert answer(mlflow)[0] == 200
        assert "MLflow" in answer(mlflow)[1]
        assert "mine" in answer(f"{sweeps}/api/studies")[1]
        assert mlflow.startswith("http://127.0.0.1:")
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 4  # two servers, each with its watcher
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert not psutil.wait_procs(started, 0)[1]


def test_nothing_outlives_a_kill(home: Path) -> None:
    with viewing(pages=1) as (process, (address,)):
        assert answer(address)[0] == 200
        started = psutil.Process(process.pid).children(recursive=True)
        assert started
        os.kill(process.pid, signal.SIGKILL)
        assert not psutil.wait_procs(started, timeout=60)[1]


def test_a_port_that_is_taken_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main.call(["view", "--port", str(port)]) == 2
    told = capsys.readouterr().err
    assert f"--port {port}: Address already in use; leave it out for a free one" in told
    assert told.count("\n") == 1


def test_what_cannot_be_shown_is_told_in_one_line(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(["view"]) == 2
    assert "no ledger here yet; run `ringbench suite`" in capsys.readouterr().err
    assert not (own_home / "mlflow.db").exists()
    assert main.call(["view", "--tracking-uri", "runs"]) == 2
    assert "expected a database or server" in capsys.readouterr().err
    own_home.mkdir(exist_ok=True)
    (own_home / "mlflow.db").write_text(
        "not a database, and longer than any header of one would be"
    )
    assert main.call(["view"]) == 2
    told = capsys.readouterr().err
    assert "MLflow did not start: " in told
    assert told.count("\n") == 1


def test_a_server_that_is_there_already_is_only_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["view", "--tracking-uri", "http://ledger.example:5000"]) == 0
    assert capsys.readouterr().out == "MLflow: http://ledger.example:5000\n"


def test_sweeps_in_another_database_are_shown_when_asked_for_and_named_when_not(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The address is in no list of processes: it may hold a password."""
    far = f"sqlite:///{tmp_path}/far.db"
    optuna.create_study(storage=far, study_name="theirs")
    words = ("--storage", far, "--tracking-uri", "http://ledger.example:5000")
    with viewing(2, *words) as (process, (mlflow, sweeps)):
        assert mlflow == "http://ledger.example:5000"
        assert "theirs" in answer(f"{sweeps}/api/studies")[1]
        started = psutil.Process(process.pid).children(recursive=True)
        assert started
        assert not any("far.db" in " ".join(p.cmdline()) for p in started)
    folder = home / "sweeps" / "theirs"
    folder.mkdir(parents=True)
    facts = {"kind": "sweep", "storage": "postgresql://me:secret@db.example/sweeps"}
    (folder / "sweep.json").write_text(json.dumps(facts))
    assert main.call(["view", "--tracking-uri", "http://ledger.example:5000"]) == 0
    told = capsys.readouterr().err
    assert "ringbench view --storage postgresql://me@db.example/sweeps" in told
    assert "secret" not in told
