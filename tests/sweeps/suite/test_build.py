"""Suites: what a grid is, and that it finishes whatever happens to the process."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.cli import main
from harness.tracking import pending_records
from harness.tracking.ledger import Ledger, open_ledger
from methods.kit.core.errors import UsageError
from sweeps.suite.build import build_suite
from tests.processes import ForkedCommand, worker_processes

SUITE = ["suite", "base_to_novel"]
FAST = ["data=digits", "data.shots=1", "train.epochs=1"]
GRID = ["methods=zero_shot,linear_probe,clip_adapter", "seeds=1-4", *FAST]


def finished() -> list[str]:
    return sorted(run.digest for run in open_ledger().runs() if run.status == "finished")


def test_a_suite_is_the_product_of_its_axes_seed_by_seed() -> None:
    suite = build_suite(
        "base_to_novel", ["methods=lora,adaring", "data=flags,digits", "seeds=1,3-4"]
    )
    shown = [(s.seed, s.data.name, s.method_name) for s in suite.specs]
    assert shown == [
        (seed, data, method)
        for seed in (1, 3, 4)
        for data in ("flags", "digits")
        for method in ("lora", "adaring")
    ]


def test_the_axis_of_one_method_leaves_the_others_alone() -> None:
    words = ["methods=lora,adaring", "lora.rank=1,2", "adaring.train.lr=0.1", "seeds=1"]
    suite = build_suite("base_to_novel", words)
    lora = [s for s in suite.specs if s.method_name == "lora"]
    assert [s.flat()["method.rank"] for s in lora] == [1, 2]
    assert {s.train.lr for s in lora} != {0.1}
    assert [s.train.lr for s in suite.specs if s.method_name == "adaring"] == [0.1]


def test_lists_inside_a_grid_are_values() -> None:
    words = ["methods=adaring", "method.slice_size=2,[2, 4]", 'method.towers=["image"]', "seeds=1"]
    suite = build_suite("few_shot", words)
    assert [s.flat()["method.slice_size"] for s in suite.specs] == [2, [2, 4]]


def test_a_method_without_the_axis_keeps_one_run() -> None:
    suite = build_suite("base_to_novel", ["methods=zero_shot,lora", "lora.rank=1,2,4"])
    assert [s.method_name for s in suite.specs].count("zero_shot") == 1
    assert len(suite.specs) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=flags"], "methods: missing"),
        (["methods=lora,adarign"], "did you mean 'adaring'"),
        (["methods=lora", "adaring.ring_rank=2"], "adaring is not among methods=lora"),
        (["methods=lora", "method.rnk=2"], "method.rnk: unknown, did you mean 'rank'?"),
        (["methods=lora", "seeds=1,x"], "seed: expected a whole number from 0"),
        (["methods=lora", "seeds=3-1"], "seeds: 3-1 must count up"),
        (["methods=lora", "seeds=1-1000000000"], "name at most 1,000 seeds"),
        (["methods=lora", "seeds="], "seed: no value given"),
        (["methods=lora", "seeds"], "expected key=value"),
        (["methods=lora", "data=flag"], "did you mean 'flags'?"),
    ],
)
def test_a_wrong_grid_is_told_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main.call(["suite", "base_to_novel", *words])
    shown = capsys.readouterr()
    assert code == 2
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_a_suite_runs_records_and_repeats_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["suite", "base_to_novel", "methods=zero_shot,linear_probe", "seeds=1,2", *FAST]
    assert main.call([*words, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["runs"], first["already_recorded"], first["finished_now"]) == (4, 0, 4)
    assert main.call([*words, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["already_recorded"], again["finished_now"]) == (4, 0)
    runs = list(open_ledger().runs())
    assert len(runs) == 4
    assert len({run.tags["mlflow.parentRunId"] for run in runs}) == 1
    assert main.call([*words, "--json", "--force"]) == 0
    assert len(list(open_ledger().runs())) == 8


def test_a_dry_run_shows_the_plan_and_runs_nothing(
    capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    words = ["suite", "base_to_novel", "methods=adaring,lora", "seeds=1", *FAST]
    assert main.call([*words, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    states = {(r["method"], r["state"]) for r in plan["runs"]}
    assert states == {("adaring", "missing"), ("lora", "missing")}
    assert all(r["trainable"] > 0 for r in plan["runs"])
    assert finished() == []


def test_a_failing_run_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["methods=linear_probe", "linear_probe.train.lr=1e38,1e-3", "seeds=1"]
    words += ["data=digits", "data.shots=1", "train.epochs=20"]
    assert main.call(["suite", "base_to_novel", *words]) == 1
    assert "1 failed; the same command again runs what is missing" in capsys.readouterr().err
    statuses = sorted(run.status for run in open_ledger().runs())
    assert statuses == ["failed", "finished"]


def test_workers_give_what_one_process_gives(own_home: Path) -> None:
    words = ["suite", "base_to_novel", "methods=linear_probe", "seeds=1,2,3", *FAST, "-q"]
    assert main.call([*words, "--workers", "2"]) == 0
    assert main.call([*words, "--workers", "2"]) == 0  # nothing left to do
    pooled = {r.digest: r.metrics["acc/base"] for r in open_ledger().runs()}
    assert main.call([*words, "--force"]) == 0
    alone = {
        r.digest: r.metrics["acc/base"]
        for r in sorted(open_ledger().runs(), key=lambda r: r.started)
    }
    assert pooled == alone
    assert len(pooled) == 3


def ends(suite: ForkedCommand) -> int | None:
    """The exit code of a suite, once it and all that it started are gone."""
    suite.finish(240)
    return suite.exit_code


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_a_suite_killed_at_random_moments_completes_without_loss_or_double(
    options: tuple[str, ...], own_home: Path
) -> None:
    expected = sorted(spec.digest() for spec in build_suite("base_to_novel", GRID).specs)
    rng = random.Random(len(options))
    kept: set[str] = set()
    for _ in range(2):
        suite = ForkedCommand(*SUITE, *GRID, *options)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and suite.exit_code is None:
            if (own_home / "mlflow.db").exists():
                break
            time.sleep(0.05)
        time.sleep(rng.uniform(0.5, 5))
        suite.kill()
        waiting = {e.result["digest"] for e in pending_records.waiting(own_home / "spool")}
        recorded = set(finished()) | waiting
        assert kept <= recorded  # what was recorded once is never lost
        kept = recorded
    assert ends(ForkedCommand(*SUITE, *GRID, *options)) == 0
    assert finished() == expected


def test_ctrl_c_ends_with_what_is_left_and_the_same_command_goes_on(own_home: Path) -> None:
    words = ["methods=full_rank", "seeds=1,2", "data=digits", "data.shots=4", "train.epochs=400"]
    suite = ForkedCommand(*SUITE, *words)
    deadline = time.monotonic() + 90
    claims = {f"{spec.digest()}.lock" for spec in build_suite("base_to_novel", words).specs}
    while not claims & {p.name for p in own_home.glob("locks/*")} and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(4)
    suite.signal(signal.SIGINT)
    shown = suite.finish(60)
    assert suite.exit_code == 3
    assert "the same command again runs what is missing" in shown
    assert "Traceback" not in shown
    assert [run.status for run in open_ledger().runs()] == ["cancelled"]


def test_a_server_that_dies_in_the_middle_loses_nothing(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = 5000 + os.getpid() % 1000
    uri = f"http://127.0.0.1:{port}"
    store = own_home.parent / "server"
    store.mkdir()
    server = subprocess.Popen(
        [
            sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{store}/m.db", "--artifacts-destination", str(store),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # starts six processes
    )  # fmt: skip
    try:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        _answers(uri)
        words = ["run", "base_to_novel", "method=linear_probe", *FAST, "-q", "--tracking-uri", uri]
        assert main.call([*words, "seed=1"]) == 0
        ledger = Ledger(uri)
        assert len(list(ledger.runs())) == 1
        monkeypatch.setattr(Ledger, "deliver_all", _dies(server, Ledger.deliver_all))
        assert main.call([*words, "seed=2"]) == 0
        monkeypatch.undo()
        monkeypatch.setenv("RINGBENCH_HOME", str(own_home))
        waiting = [e.result["spec"]["seed"] for e in pending_records.waiting(own_home / "spool")]
        assert waiting == [2]
    finally:
        _stop(server)
    assert main.call(["ls", "runs", "--json"]) == 0  # SQLite: delivers what is left
    assert not list(pending_records.waiting(own_home / "spool"))


def _answers(uri: str) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            next(iter(Ledger(uri).runs()), None)
            return
        except Exception:
            time.sleep(0.5)
    pytest.fail("the MLflow server did not start")


def _stop(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _dies(server: "subprocess.Popen[bytes]", deliver: object) -> object:
    """deliver_all of a ledger whose server is killed once there is something to deliver."""

    def patched(self: Ledger) -> int:
        if any(pending_records.waiting(self.pending)):
            _stop(server)
        return deliver(self)  # type: ignore[operator]

    return patched


def test_a_worker_that_dies_is_replaced_and_its_run_is_tried_again(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = ForkedCommand(*SUITE, *GRID[:1], "seeds=1-2", *FAST, "--workers", "2")
    deadline = time.monotonic() + 60
    killed = False
    while time.monotonic() < deadline and suite.exit_code is None and not killed:
        if workers := worker_processes(suite.pid):
            time.sleep(2)
            os.kill(workers[0], signal.SIGKILL)
            killed = True
        time.sleep(0.05)
    assert killed
    assert ends(suite) == 0
    assert len(finished()) == 6


def test_unknown_things_are_refused_before_anything_runs(own_home: Path) -> None:
    with pytest.raises(UsageError):
        build_suite("base_to_novel", ["methods=lora", "data.shots=none"])
    assert not own_home.exists()
