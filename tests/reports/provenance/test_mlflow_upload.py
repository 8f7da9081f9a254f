"""What MLflow shows of suites and sweeps: nested, named, described, with their tables beside."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from harness.cli import main

FAST = ["data=digits", "data.shots=1", "data.val_shots=1", "train.epochs=1"]


def shown(home: Path) -> tuple[MlflowClient, list[Run], dict[str, Run]]:
    """The children and, by kind, the parents."""
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    ids = [e.experiment_id for e in client.search_experiments()]
    runs = list(client.search_runs(ids))
    parents = {r.data.tags["kind"]: r for r in runs if "kind" in r.data.tags}
    return client, [r for r in runs if "kind" not in r.data.tags], parents


def names(client: MlflowClient, run: Run) -> set[str]:
    return {item.path for item in client.list_artifacts(run.info.run_id, "report")}


def test_a_suite_is_a_run_with_its_runs_below_and_its_report_beside(
    own_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["base_to_novel", "methods=lora,zero_shot", "lora.rank=4", "seeds=1", *FAST]
    assert main.call(["suite", *words, "-q"]) == 0
    client, children, parents = shown(own_home)
    parent = parents["suite"]
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name.startswith("suite base_to_novel-")
    assert "2 runs, nested below" in parent.data.tags["mlflow.note.content"]
    assert (
        "ringbench suite base_to_novel methods=lora,zero_shot"
        in (parent.data.tags["mlflow.note.content"])
    )
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parent.info.run_id}
    assert {r.info.run_name for r in children} == {
        "lora rank=4 train.epochs=1 digits 1-shot seed 1",
        "zero_shot digits 1-shot seed 1",
    }
    for run in children:
        note = run.data.tags["mlflow.note.content"]
        assert f"**{run.data.tags['method']}** on digits, base_to_novel, 1-shot, seed 1" in note
        assert f"hmean {run.data.metrics['acc/hmean']:.2f}" in note
    kinds = ("csv", "html", "md", "tex")
    tables = {f"report/leaderboard.{kind}" for kind in kinds}
    pictures = {f"report/pareto.{kind}" for kind in ("png", "svg", "pdf", "csv")}
    manifests = {f"report/{name}.manifest.json" for name in ("leaderboard", "pareto")}
    assert names(client, parent) == tables | pictures | manifests | {"report/pareto-families.csv"}
    assert main.call(["leaderboard", "--out", str(tmp_path / "again")]) == 0
    kept = Path(client.download_artifacts(parent.info.run_id, "report", str(tmp_path)))
    csv = (kept / "leaderboard.csv").read_text()
    assert csv == (tmp_path / "again" / "leaderboard.csv").read_text()
    for name in ("leaderboard.md", "pareto.manifest.json"):
        assert main.call(["verify", str(kept / name)]) == 0


def test_a_suite_with_a_hole_has_no_report_yet(own_home: Path) -> None:
    few = ["data=digits", "data.shots=1", "data.val_shots=1", "train.epochs=3"]
    words = ["base_to_novel", "methods=lora", "seeds=1", *few, "train.lr=1e30"]
    assert main.call(["suite", *words, "-q"]) == 1
    client, _, parents = shown(own_home)
    assert parents["suite"].info.status == "FAILED"
    assert names(client, parents["suite"]) == set()


def test_a_sweep_has_its_front_and_its_trials_beside(own_home: Path, tmp_path: Path) -> None:
    words = ["ring_rank", *FAST, "--trials", "2", "--name", "mine", "-q"]
    assert main.call(["sweep", *words]) == 0
    client, children, parents = shown(own_home)
    sweep = parents["sweep"]
    assert sweep.info.run_name == "sweep mine"
    assert "Settings of **adaring**" in sweep.data.tags["mlflow.note.content"]
    assert names(client, sweep) == {
        f"report/{name}"
        for name in ("front.png", "front.svg", "front.pdf", "front.csv", "front.manifest.json",
                     "sweep.json", "trials.csv")
    }  # fmt: skip
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {sweep.info.run_id}
    assert all("never tested" in r.data.tags["mlflow.note.content"] for r in children)
    kept = client.download_artifacts(sweep.info.run_id, "report/sweep.json")
    assert json.loads(Path(kept).read_text())["name"] == "mine"
    beside = client.download_artifacts(sweep.info.run_id, "report", str(tmp_path))
    assert main.call(["verify", f"{beside}/front.manifest.json"]) == 0
