"""Sweeps as a person meets them: validation only, resumable, killed at any moment, shared."""

import json
import os
import random
import shlex
import shutil
import signal
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from harness.cli import main
from harness.run import config
from harness.tracking.ledger import open_ledger
from tests.processes import ForkedCommand, worker_processes
from tests.sweeps.processes import begun, complete, study_of, sweep, trials

FAST = ["data=digits", "data.shots=1", "train.epochs=1"]
PROBE = ["fields", "method=linear_probe", *FAST]
ADAPTER = ["clip_adapter", *FAST]


@pytest.fixture(autouse=True)
def ready(store: Path, own_home: Path, request: pytest.FixtureRequest) -> None:
    """Every test begins with an empty store, but where nothing must be written."""
    if "wrong_input" not in request.node.name:
        own_home.mkdir()
        shutil.copy(store, own_home)


def test_a_sweep_sees_validation_data_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = sweep(capsys, *PROBE, "seeds=1,2", "--trials", "3", "--sampler", "random")
    runs = list(open_ledger().runs())
    assert len(runs) == 6
    for run in runs:
        assert run.tags["selection"] == "val"
        assert run.tags["test_reads"] == "0"
        assert not {"acc/base", "acc/novel", "acc/hmean", "ece/test"} & set(run.metrics)
        assert {"acc/val", "acc/val_novel", "acc/val_hmean"} <= set(run.metrics)
    assert len({run.tags["mlflow.parentRunId"] for run in runs}) == 1
    table = trials(found)
    mean = sum(r.metrics["acc/val_hmean"] for r in runs) / 6
    assert table["acc/val_hmean"].mean() == pytest.approx(mean)
    assert found["ends"] == {"complete": 3}


def test_runs_of_a_sweep_are_not_results(capsys: pytest.CaptureFixture[str]) -> None:
    found = sweep(capsys, *PROBE, "--trials", "1")
    words = shlex.split(found["best"][0]["command"])[1:]
    (tuned,) = open_ledger().runs()
    assert config.build(words[1], words[2:]).digest() == tuned.digest
    assert main.call(["leaderboard"]) == 2
    assert "nothing is recorded yet" in capsys.readouterr().err
    assert main.call([*words, "--json"]) == 0  # the very words, pasted: now it is tested
    tested = json.loads(capsys.readouterr().out)
    assert tested["already_recorded"] is False
    assert tested["metrics"]["acc/val_hmean"] == tuned.metrics["acc/val_hmean"]
    assert "acc/hmean" in tested["metrics"]
    assert main.call(["leaderboard", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_the_same_command_goes_on_and_repeats_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*ADAPTER, "--sampler", "random"]
    first = sweep(capsys, *words, "--trials", "2")
    more = sweep(capsys, *words, "--trials", "4")
    assert more["name"] == first["name"]
    assert (first["ends"], more["ends"]) == ({"complete": 2}, {"complete": 4})
    before = len(list(open_ledger().runs()))
    again = sweep(capsys, *words, "--trials", "4")
    assert again["best"] == more["best"]
    assert len(list(open_ledger().runs())) == before == 4


def test_a_finished_run_is_found_in_the_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    default = ["method=clip_adapter", "train.lr=2e-3", *FAST]
    assert main.call(["run", "base_to_novel", *default, "-q"]) == 0
    sweep(capsys, *ADAPTER, "--trials", "1")
    assert len(list(open_ledger().runs())) == 1


def test_few_shot_aims_at_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    found = sweep(capsys, *PROBE, "--trials", "1", "--preset", "few_shot")
    assert found["objectives"] == ["acc/val"]
    assert "acc/val" in found["best"][0]["values"]


def test_a_cap_refuses_before_the_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*ADAPTER, "--trials", "3", "--sampler", "random", "--cap", "params/trainable=6000"]
    found = sweep(capsys, *words)
    table = trials(found).set_index("end")
    assert found["ends"]["complete"] == 3
    assert (table.loc[["complete"], "params/trainable"] <= 6000).all()
    assert (table.loc[["capped"], "params/trainable"] > 6000).all()
    assert (table.loc[["capped"], "runs"] == 0).all()
    assert len(list(open_ledger().runs())) == 3
    excess = [t.constraints["params/trainable"] for t in study_of(found["name"]).trials]
    assert sorted(e > 0 for e in excess).count(True) == found["ends"]["capped"]


def test_settings_that_cannot_be_are_refused_and_the_sweep_goes_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    space = tmp_path / "wide.toml"
    space.write_text(
        'method = "clip_adapter"\n[space]\n"method.reduction" = { choices = [4, 8, 4096] }\n'
    )
    found = sweep(capsys, str(space), *FAST, "--sampler", "grid")
    assert found["ends"] == {"complete": 2, "refused": 1}
    assert "leaves nothing" in trials(found).set_index("end").loc["refused", "why"]


def test_two_objectives_give_a_front_and_the_bound_spares_what_cannot_enter(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sweeps.study.front_bound.START", 4)
    space = tmp_path / "wide.toml"  # with little trained, wide adapters are worse than narrow ones
    space.write_text(
        'method = "clip_adapter"\n[space]\n'
        '"method.reduction" = { low = 2, high = 128, log = true }\n'
    )
    words = [str(space), *FAST, "method.ratio=0.75", "train.lr=0.01"]
    words += ["--sampler", "random", "--objective", "acc/val_hmean,params/trainable"]
    found = sweep(capsys, *words, "--trials", "14")
    table = trials(found)
    done = table[table["end"] == "complete"]
    costs = [b["values"]["params/trainable"] for b in found["best"]]
    values = [b["values"]["acc/val_hmean"] for b in found["best"]]
    assert costs == sorted(costs, reverse=True)
    assert values == sorted(values, reverse=True)
    for _, row in done.iterrows():
        assert any(
            c <= row["params/trainable"] and v >= row["acc/val_hmean"]
            for c, v in zip(costs, values, strict=True)
        )
    spared = table[table["end"] == "bounded"]
    assert len(spared) > 0
    assert (spared["runs"] == 0).all()
    assert (spared["number"] >= 4).all()
    assert len(list(open_ledger().runs())) == done["method.reduction"].nunique()


def test_a_bad_trial_is_pruned_between_its_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sweeps.study.strategy.SameStepPruner.__init__.__defaults__", (True, 1))
    space = tmp_path / "mix.toml"
    space.write_text(
        'method = "clip_adapter"\n[space]\n"train.lr" = { choices = [0.001, 0.002, 10.0] }\n'
    )
    words = [str(space), *FAST, "method.ratio=0.95", "seeds=1,2", "--sampler", "grid"]
    found = sweep(capsys, *words)
    table = trials(found)
    pruned = table[table["end"] == "pruned"]
    assert len(pruned) > 0
    assert (pruned["runs"] == 1).all()
    assert "after 1 of 2 runs" in pruned.iloc[0]["why"]


def test_a_failing_trial_is_told_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    space = tmp_path / "hot.toml"
    space.write_text('method = "linear_probe"\n[space]\n"train.lr" = { choices = [1e-3, 1e38] }\n')
    fast = ["data=digits", "data.shots=1", "train.epochs=20", "train.warmup=0"]
    found = sweep(capsys, str(space), *fast, "--sampler", "grid", code=1)
    assert found["ends"] == {"complete": 1, "failed": 1}


def test_a_dry_run_runs_nothing(capsys: pytest.CaptureFixture[str], own_home: Path) -> None:
    plan = sweep(capsys, "lora_rank", *FAST, "--cap", "params/trainable=10000", "--dry-run")
    assert [t["trainable"] for t in plan["first"]] == [27_648, 27_648]
    assert plan["first"][0]["note"] == "above the cap"
    assert not (own_home / "sweeps.db").exists()
    assert main.call(["sweep", "lora_rank", *FAST, "--dry-run"]) == 0
    assert "nothing was run" in capsys.readouterr().out


# --- several processes, and kills ---------------------------------------------------------------


def test_a_sweep_killed_at_random_moments_ends_as_one_that_was_not(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*ADAPTER, "--sampler", "random", "--trials", "6", "-q"]
    whole = sweep(capsys, *words[:-1], "--name", "whole")
    assert whole["ends"] == {"complete": 6}
    rng = random.Random(0)
    kept: set[str] = set()
    for number in (1, 3):
        torn = ForkedCommand("sweep", *words, "--name", "torn")
        begun("torn", number)
        time.sleep(rng.uniform(0, 0.6))
        torn.kill()
        assert kept <= complete("torn")  # what ended once is never lost
        kept = complete("torn")
    assert main.call(["sweep", *words, "--name", "torn"]) == 0
    assert complete("torn") == complete("whole")
    states = [t.state for t in study_of("torn").trials]
    assert states.count(TrialState.COMPLETE) == 6
    assert set(states) <= {TrialState.COMPLETE, TrialState.FAIL}
    assert states.count(TrialState.FAIL) <= 2  # the trial in flight, each time


def test_two_workers_share_a_study_and_a_killed_one_is_replaced(own_home: Path) -> None:
    words = [*ADAPTER, "--sampler", "random", "--trials", "10", "--name", "shared"]
    running = ForkedCommand("sweep", *words, "--workers", "2")
    begun("shared", 2)
    killed = worker_processes(running.pid)[0]
    os.kill(killed, signal.SIGKILL)
    shown = running.finish(600)
    assert running.exit_code == 0, shown
    assert "10 complete" in shown
    study = study_of("shared")
    states = [t.state for t in study.trials]
    assert states.count(TrialState.COMPLETE) == 10
    assert TrialState.RUNNING not in states
    assert states.count(TrialState.FAIL) <= 1
    digests = [r["digest"] for t in study.trials for r in t.user_attrs.get("runs", [])]
    recorded = [run.digest for run in open_ledger().runs() if run.status == "finished"]
    assert set(digests) <= set(recorded)
    assert len(recorded) == len(set(recorded))  # nothing was run twice


def test_ctrl_c_keeps_everything_and_the_same_command_goes_on(own_home: Path) -> None:
    words = [*ADAPTER, "--sampler", "random", "--name", "stopped"]
    running = ForkedCommand("sweep", *words, "--trials", "40")
    begun("stopped", 1)
    running.signal(signal.SIGINT)
    shown = running.finish(300)
    assert running.exit_code == 3
    assert "not reached, the same command goes on" in shown
    assert "Traceback" not in shown
    done = len(complete("stopped"))
    assert not [t for t in study_of("stopped").trials if t.state == TrialState.RUNNING]
    assert main.call(["sweep", *words, "--trials", str(done + 1), "-q"]) == 0
    assert len(complete("stopped")) == done + 1


# --- what wrong input is told ------------------------------------------------------------------

WRONG = {
    ("rank",): "space 'rank': unknown, did you mean 'ring_rank'?",
    (): "sweep: name a space first",
    ("data=digits",): "sweep: name a space first",
    ("fields",): "say of which method",
    ("ring_rank", "method=lora"): "space 'ring_rank' searches adaring",
    ("ring_rank", "methods=lora"): "say --methods A,B",
    ("ring_rank", "data=digit"): "did you mean 'digits'?",
    ("ring_rank", "seeds=0.5"): "seed: expected a whole number",
    ("ring_rank", "method.rnk=1"): "method.rnk: unknown",
    ("ring_rank", "data.val_shots=0"): "a sweep needs validation images",
    ("ring_rank", "--sampler", "tep"): "--sampler 'tep': unknown, did you mean 'tpe'?",
    ("ring_rank", "--pruner", "mean"): "--pruner 'mean': unknown",
    ("ring_rank", "--preset", "base"): "preset 'base': unknown",
    ("ring_rank", "--objective", "acc/test"): "a sweep sees validation data only",
    ("ring_rank", "--cap", "params/trained=5"): "did you mean 'params/trainable'?",
    ("ring_rank", "--cap", "time/step_ms=5"): "known only after training",
    ("ring_rank", "--cap", "params/stored"): "expected QUANTITY=LIMIT",
    ("ring_rank", "--cap", "params/stored=x"): "expected a number from 0, got 'x'",
    ("ring_rank", "--trials", "0"): "--trials",
    ("ring_rank", "--name", "a/b"): "--name 'a/b'",
    ("adaring", "--sampler", "grid"): "fix keys or take another sampler",
    ("fields", "method=zero_shot"): "trains nothing",
    ("none.toml",): "none.toml: no such file",
    ("--methods", "lora"): "say what each may spend",
    ("--budget", "30"): "goes with --methods",
    ("--methods", "lora", "--budget", "0"): "expected trials or time",
    ("--methods", "lora", "--budget", "-3"): "--budget",
    ("--methods", "lora", "--budget", "1.5"): "expected trials or time",
    ("--methods", "lora", "--budget", "0m"): "expected trials or time",
    ("--methods", "lora,lora", "--budget", "3"): "named twice",
    ("--methods", "lore", "--budget", "3"): "did you mean 'lora'?",
    (
        "ring_rank",
        "--methods",
        "lora",
        "--budget",
        "3",
    ): "the space is one of fields, learning_rate",
    (
        "learning_rate",
        "--methods",
        "lora",
        "--budget",
        "3",
        "--sampler",
        "grid",
    ): "it is the whole grid, 5",
    ("--candidate", "lora"): "say what each may spend",
    ("--methods", "clip_adapter,linear_probe", "--budget", "5", "--sampler", "grid"): (
        "grids of methods differ in size"
    ),
    ("--methods", "lora", "--candidate", "lora", "--budget", "3"): "'lora' is named twice",
    ("--candidate", "lora sites=[q]", "--candidate", 'lora "sites=[ q ]"', "--budget", "3"): (
        "is named twice"
    ),
    ("--candidate", "lora 'rank=1", "--budget", "3"): "no closing quotation",
    ("--candidate", "lora data=digits", "--budget", "3"): "'data=digits' sets neither the method",
    ("--candidate", "lora seed=7", "--budget", "3"): "'seed=7' sets neither the method",
    ("learning_rate", "--candidate", "lora rank=0", "--budget", "5"): "method.rank",
    (
        "learning_rate",
        "--candidate",
        "lora rnak=1",
        "--budget",
        "5",
    ): "rnak: unknown, did you mean 'rank'?",
    (
        "learning_rate",
        "--candidate",
        "lora train.lr=1e-3",
        "--budget",
        "5",
    ): "every key of it is fixed",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_input_is_told_in_one_line(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    assert main.call(["sweep", *words]) == 2
    shown = capsys.readouterr()
    assert WRONG[words] in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert not (own_home / "sweeps.db").exists()


def test_a_name_holds_one_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    sweep(capsys, *PROBE, "--trials", "1", "--name", "mine")
    assert main.call(["sweep", *ADAPTER, "--trials", "1", "--name", "mine"]) == 2
    shown = capsys.readouterr().err
    assert "--name mine: holds another sweep (space fields" in shown
    assert shown.count("\n") == 1


def test_spaces_and_sweeps_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["ls", "spaces", "--json"]) == 0
    names = {row["space"] for row in json.loads(capsys.readouterr().out)}
    assert {"ring_rank", "slice_size", "adaring", "lora_rank", "clip_adapter", "fields"} <= names
    sweep(capsys, *PROBE, "--trials", "1", "--name", "mine")
    assert main.call(["ls", "sweeps", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["sweep"], row["so far"]) == ("mine", "1 trials")


def test_trials_side_by_side_end_as_one_after_another(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["lora_rank", "data=digits", "data.shots=2", "train.epochs=3", "method.layers=top:1"]
    words += ["seeds=1,2", "--trials", "5", "--sampler", "random"]
    apart = sweep(capsys, *words, "--cotrain", "off", "--name", "apart")
    assert all("together" not in run.tags for run in open_ledger().runs())
    rows = {r.digest: r.metrics["acc/val_hmean"] for r in open_ledger().runs()}
    done = complete("apart")
    home = tmp_path / "other"
    home.mkdir()
    shutil.copy(store, home)
    monkeypatch.setenv("RINGBENCH_HOME", str(home))
    beside = sweep(capsys, *words, "--cotrain", "4", "--name", "beside")
    assert any(run.tags.get("together") == "4" for run in open_ledger().runs())
    assert {r.digest: r.metrics["acc/val_hmean"] for r in open_ledger().runs()} == rows
    assert beside["ends"] == apart["ends"]
    assert complete("beside") == done
    assert {t.user_attrs["side_by_side"] for t in study_of("beside").trials} <= {1, 4}


def test_side_by_side_killed_in_flight_loses_nothing_recorded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*ADAPTER, "--sampler", "random", "--trials", "6", "-q", "--cotrain", "3"]
    whole = sweep(capsys, *[w for w in words if w != "-q"], "--name", "whole")
    assert whole["ends"] == {"complete": 6}
    torn = ForkedCommand("sweep", *words, "--name", "torn")
    begun("torn", 4)
    torn.kill()
    kept = complete("torn")
    assert main.call(["sweep", *words, "--name", "torn"]) == 0
    assert kept <= complete("torn") == complete("whole")


@pytest.mark.parametrize("words", [["sweep", *PROBE], ["suite", "base_to_novel", "methods=lora"]])
def test_wrong_input_of_cotrain_is_told_in_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call([*words, "--cotrain", "none"]) == 2
    assert (
        "--cotrain 'none': expected auto, off, or the size of a group, such as 8"
        in capsys.readouterr().err
    )
