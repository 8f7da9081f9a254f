"""A study in a real database server: two commands, one killed, and what others read of it.

Starts PostgreSQL where its programs are installed, with its files in a folder of its own.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from harness.tracking.ledger import open_ledger
from methods.kit.core.errors import UsageError
from sweeps.study.budget import Budget
from sweeps.study.optuna_study import Study
from sweeps.study.request import SweepRequest, build_plan
from sweeps.study.sweep_plan import SweepOptions
from tests.processes import ForkedCommand
from tests.sweeps.processes import sweep

FAST = ["clip_adapter", "data=digits", "data.shots=1", "train.epochs=2", "--sampler", "random"]
NAMED = [*FAST, "--name", "far"]
SHORT_BEATS = "from sweeps.study import trial_claims as c; c.BEAT, c.GRACE = 1, 20"  # seconds
WAIT = 300  # seconds, for anything to happen on a busy machine


def program(name: str) -> str:
    """Where a program of PostgreSQL is; skips when it is nowhere."""
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(kept[-1]) if kept else None)
    if found is None:
        pytest.skip(f"PostgreSQL's {name} is not installed (apt-get install postgresql)")
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a database on a server that is ours alone."""
    if find_spec("psycopg") is None:
        pytest.skip('psycopg is not installed (pip install "ringbench[db]")')
    initdb, postgres = program("initdb"), program("postgres")
    folder = Path(tempfile.mkdtemp(prefix="ringbench-pg-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "nobody")
        user = {"user": "nobody"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = str(folder / "data")
    subprocess.run(
        [initdb, "-D", data, "-U", "me", "-A", "trust", "--no-sync"],
        check=True, capture_output=True, cwd=folder, **user,
    )  # fmt: skip
    words = [postgres, "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)]
    log = (folder / "log").open("wb")
    running = subprocess.Popen([*words, "-F"], stdout=log, stderr=log, cwd=folder, **user)
    try:
        answers(f"postgresql://me@127.0.0.1:{port}/postgres")
        yield f"postgresql://me@127.0.0.1:{port}/postgres"
    finally:
        running.send_signal(signal.SIGINT)  # ends sessions, then itself
        running.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def answers(url: str) -> None:
    import psycopg

    until = time.monotonic() + WAIT
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.2)
        else:
            return


@pytest.fixture(autouse=True)
def ready(store: Path, own_home: Path) -> None:
    own_home.mkdir()
    shutil.copy(store, own_home)


@contextmanager
def loaded(url: str, name: str) -> Iterator[optuna.Study]:
    """A study as somebody else opens it. Raises KeyError while there is none."""
    storage = optuna.storages.RDBStorage(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        yield optuna.load_study(study_name=name, storage=storage)
    finally:
        storage.remove_session()
        storage.engine.dispose()


def trials_of(url: str, name: str) -> list[optuna.trial.FrozenTrial]:
    """Its trials; none while there is no such study or no table at all."""
    try:
        with loaded(url, name) as study:
            return study.trials
    except (KeyError, SQLAlchemyError, optuna.exceptions.StorageInternalError):
        return []


def test_two_commands_share_a_study_and_one_is_killed(server: str) -> None:
    words = [*NAMED, "seeds=1,2", "--trials", "9", "--storage", server]
    one, two = (ForkedCommand("sweep", *words, before=SHORT_BEATS) for _ in range(2))
    until = time.monotonic() + WAIT
    killed = False
    while not killed and time.monotonic() < until and one.exit_code is None:
        trials = trials_of(server, "far")
        if len(trials) > 1 and any(t.state == TrialState.RUNNING for t in trials):
            one.kill()
            killed = True
        time.sleep(0.05)
    assert killed
    shown = two.finish(2 * WAIT)
    assert two.exit_code == 0, shown
    assert "Traceback" not in shown
    trials = trials_of(server, "far")
    states = [t.state for t in trials]
    assert TrialState.RUNNING not in states
    assert TrialState.WAITING not in states
    ended = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(ended) in (9, 10)  # no lock spans two machines
    assert states.count(TrialState.FAIL) <= 1
    retried = [n for t in trials for n in t.system_attrs.get("retry_history", [])]
    assert [t.number for t in trials if t.state == TrialState.FAIL] == retried
    recorded = [run.digest for run in open_ledger().runs() if run.status == "finished"]
    assert len(recorded) == len(set(recorded))


def test_the_study_is_plain_optuna_for_whoever_reads_it(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = sweep(
        capsys, *FAST, "--trials", "3", "--name", "read", "--storage", server,
        "--objective", "acc/val_hmean,params/trainable",
    )  # fmt: skip
    assert found["ends"] == {"complete": 3}
    with loaded(server, "read") as study:
        assert study.metric_names == ["acc/val_hmean", "params/trainable"]
        assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
        for facts in (study.user_attrs, *(t.user_attrs for t in study.trials)):
            assert json.loads(json.dumps(facts)) == facts
        assert {t.number for t in study.best_trials} >= {b["trial"] for b in found["best"]}
        assert set(study.trials_dataframe()["state"]) == {"COMPLETE"}


def asked(sampler: str) -> SweepRequest:
    return SweepRequest(options=SweepOptions(sampler), name="mine")


def test_another_sweep_does_not_enter_a_study_of_the_server(server: str) -> None:
    words = ["data=digits", "data.shots=1"]
    mine = build_plan("clip_adapter", words, asked("random"))
    with closing(Study(mine, server)) as study:
        assert study.take(Budget(trials=1)) is not None
    other = build_plan("clip_adapter", words, asked("tpe"))
    with pytest.raises(UsageError, match="--name mine: holds another sweep"):
        Study(other, server)
