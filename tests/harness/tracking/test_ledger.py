"""Pending records and the ledger: no result is lost, none is recorded twice."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from harness.run import adapter_files, config
from harness.run.execute import execute
from harness.run.result import Result, failure
from harness.spec.spec import Spec
from harness.tracking import pending_records
from harness.tracking.ledger import Ledger, open_ledger
from methods.kit.core.errors import UsageError


@pytest.fixture(scope="module")
def result() -> Result:
    words = ["method=linear_probe", "data=digits", "shots=1", "train.epochs=2"]
    return execute(config.build("base_to_novel", words))


def test_a_recorded_run_is_found_with_every_field_of_the_design(
    result: Result, own_home: Path
) -> None:
    ledger = open_ledger()
    assert ledger.record(result)
    run = ledger.find(result.spec.digest())
    assert run is not None
    assert {k: v for k, v in run.metrics.items() if k != "loss/train"} == result.metrics
    flat = result.spec.flat()
    shown = {k: v if isinstance(v, str) else json.dumps(v) for k, v in flat.items()}
    assert run.params == shown
    wanted = "method dataset protocol backbone shots seed digest status selection git_commit"
    wanted += " git_dirty data_hash subset_hash names_hash template_hash transform_hash device"
    assert set(f"{wanted} versions".split()) <= set(run.tags)
    assert run.status == "finished"
    names = {"spec.json", "adapter.safetensors", "adapter_config.json", "predictions.parquet"}
    client = MlflowClient(f"sqlite:///{own_home}/mlflow.db")
    assert {a.path for a in client.list_artifacts(run.id)} == names | {"curve.parquet"}
    curve = client.get_metric_history(run.id, "loss/train")
    assert [m.value for m in sorted(curve, key=lambda m: m.step)] == result.losses
    assert client.get_run(run.id).info.status == "FINISHED"
    assert not list(pending_records.waiting(ledger.pending))


def test_a_failed_run_is_recorded_but_not_done(result: Result) -> None:
    ledger = open_ledger()
    spec = result.spec
    ledger.record(
        failure(spec, torch.device("cpu"), "failed", time.time(), "the loss is nan at step 3")
    )
    (run,) = ledger.runs()
    assert run.status == "failed"
    assert run.tags["error"] == "the loss is nan at step 3"
    assert ledger.find(spec.digest()) is None
    assert spec.digest() not in ledger.finished()


def test_delivering_again_after_a_kill_at_any_point_doubles_nothing(
    result: Result, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = open_ledger()
    calls = ("create_run", "log_batch", "log_artifact", "set_terminated")
    for call in calls:
        record = pending_records.write(ledger.pending, result)
        whole = getattr(MlflowClient, call)

        def dies_after(self: object, *args: object, _whole: object = whole, **kw: object) -> None:
            _whole(self, *args, **kw)  # type: ignore[operator]
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, call, dies_after)
            with pytest.raises(KeyboardInterrupt):
                ledger.deliver_all()
        assert record.folder.exists()
        assert ledger.deliver_all() == 1
        assert not record.folder.exists()
    assert len([r for r in ledger.runs() if r.status == "finished"]) == len(calls)


def test_a_store_that_is_down_loses_nothing(
    result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    dead = Ledger("http://127.0.0.1:9")
    assert dead.record(result) is False
    (record,) = pending_records.waiting(dead.pending)
    assert record.result["digest"] == result.spec.digest()
    with pytest.raises(UsageError, match=r"does not answer .* 1 results wait safely in"):
        open_ledger("http://127.0.0.1:9")
    living = open_ledger()  # delivers what is left
    assert living.find(result.spec.digest()) is not None
    assert not list(pending_records.waiting(living.pending))


def test_a_process_killed_while_it_makes_the_database_leaves_no_half_of_one(
    result: Result, own_home: Path
) -> None:
    script = "from harness.tracking.ledger import open_ledger; open_ledger()"
    for delay in (0.2, 0.6, 1.0):
        maker = subprocess.Popen([sys.executable, "-c", script])
        while not list(own_home.glob("*mlflow.db*")) and maker.poll() is None:
            time.sleep(0.01)
        time.sleep(delay)
        os.kill(maker.pid, signal.SIGKILL)
        maker.wait()
    assert open_ledger().record(result)
    assert [p.name for p in own_home.glob("*mlflow.db*")] == ["mlflow.db"]


def test_a_store_that_dies_before_a_parent_run_is_closed_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    Ledger("http://127.0.0.1:9").end_parent("0" * 32, complete=True)


def test_two_runs_of_one_spec_are_both_kept_and_the_newest_is_found(result: Result) -> None:
    ledger = open_ledger()
    ledger.record(result)
    later = replace(result, started=result.started + 5, metrics=result.metrics | {"acc/val": 1.0})
    ledger.record(later)
    run = ledger.find(result.spec.digest())
    assert run is not None
    assert run.metrics["acc/val"] == 1.0


def test_a_writer_killed_at_a_random_moment_leaves_whole_records_only(
    result: Result, own_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "result.pickle").write_bytes(pickle.dumps(result))
    script = (
        "import pickle; from pathlib import Path; from harness.tracking import pending_records\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "result = pickle.loads((folder / 'result.pickle').read_bytes())\n"
        "while True: pending_records.write(folder / 'spool', result)"
    )
    for delay in (0.07, 0.23):
        before = len(list(tmp_path.glob("spool/[0-9a-f]*")))
        with subprocess.Popen([sys.executable, "-c", script]) as writer:
            while len(list(tmp_path.glob("spool/[0-9a-f]*"))) < before + 2:
                time.sleep(0.01)
                assert writer.poll() is None
            time.sleep(delay)
            os.kill(writer.pid, signal.SIGKILL)
    records = list(pending_records.waiting(tmp_path / "spool"))
    assert len(records) > 3
    names = {"spec.json", "adapter.safetensors", "adapter_config.json", "predictions.parquet"}
    for record in records:
        assert {p.name for p in record.artifacts()} == names | {"curve.parquet"}
        assert record.result["metrics"].keys() == result.metrics.keys()
    assert not [
        p for p in (tmp_path / "spool").iterdir() if p.name.startswith(pending_records.PARTIAL)
    ]


def test_a_full_disk_is_reported_in_one_line_and_leaves_nothing(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(adapter_files, "write", full)
    with pytest.raises(UsageError, match="No space left on device"):
        pending_records.write(tmp_path, result)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_record_is_reported_in_one_line(result: Result) -> None:
    ledger = open_ledger()
    record = pending_records.write(ledger.pending, result)
    (record.folder / pending_records.RESULT).write_text('{"digest": ')
    with pytest.raises(UsageError, match="not a result any more; move it out of the spool"):
        open_ledger()
    assert record.folder.exists()


def test_a_folder_that_cannot_be_written_is_reported_in_one_line(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_home.parent.mkdir(exist_ok=True)
    (own_home.parent / "file").write_text("")
    monkeypatch.setenv("RINGBENCH_HOME", str(own_home.parent / "file" / "runs"))
    with pytest.raises(UsageError, match="cannot be written to"):
        open_ledger()


def test_only_one_process_may_run_a_spec() -> None:
    ledger = open_ledger()
    script = (
        "import sys; from harness.tracking.ledger import Ledger\n"
        "with Ledger().claim('abc') as mine: print(mine)"
    )

    def other() -> str:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        return done.stdout.strip()

    with ledger.claim("abc") as mine:
        assert mine
        assert other() == "False"
    assert other() == "True"


def test_a_parent_run_is_made_once(result: Result) -> None:
    ledger = open_ledger()
    one = ledger.start_parent("suite-1", "base_to_novel", "suite", "why")
    assert ledger.start_parent("suite-1", "base_to_novel", "suite", "why") == one
    ledger.record(result, parent=one)
    (run,) = ledger.runs()  # the parent itself is no run of ours
    assert run.tags["mlflow.parentRunId"] == one


def test_the_ledger_may_move_to_another_folder(
    result: Result, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ledger().record(result)
    shutil.copytree(own_home, tmp_path / "elsewhere")
    monkeypatch.setenv("RINGBENCH_HOME", str(tmp_path / "elsewhere"))
    assert open_ledger().find(result.spec.digest()) is not None


def test_specs_of_the_ledger_come_back(result: Result) -> None:
    ledger = open_ledger()
    ledger.record(result)
    run = ledger.find(result.spec.digest())
    assert run is not None
    with ledger.artifacts(run) as folder:
        stored = json.loads((folder / "spec.json").read_text())
    spec: Spec = config.from_dict(stored)
    assert spec == result.spec
