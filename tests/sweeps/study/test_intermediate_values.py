"""Pruning inside runs: comparable steps, honest records, and kills that change nothing."""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from harness.cli import main
from harness.cli.console import ProgressBars
from harness.run import config
from harness.tracking import driver
from harness.tracking.ledger import open_ledger
from sweeps.study.intermediate_values import checkpoint_epochs
from sweeps.study.request import SweepRequest, build_plan
from sweeps.study.sweep_plan import SweepOptions, SweepPlan
from tests.processes import ForkedCommand, worker_processes
from tests.sweeps.processes import begun, study_of, sweep, trials

FAST = ["data=digits", "data.shots=1", "train.epochs=4", "method.ratio=0.95"]
GOOD, BAD = (0.005, 0.0051), (10.0, 20.0)  # rates; the good ones do alike


@pytest.fixture(autouse=True)
def ready(store: Path, own_home: Path) -> None:
    """Every test begins with an empty store."""
    own_home.mkdir()
    shutil.copy(store, own_home)


@pytest.fixture
def mix(tmp_path: Path) -> str:
    """A space whose grid begins with its default, which is good."""
    path = tmp_path / "mix.toml"
    rates = [*GOOD, *BAD]
    path.write_text(f'method = "clip_adapter"\n[space]\n"train.lr" = {{ choices = {rates} }}\n')
    return str(path)


def planned(*words: str, objective: tuple[str, ...] = (), **options: Any) -> SweepPlan:
    request = SweepRequest(objective=objective, options=SweepOptions(**options))
    return build_plan("clip_adapter", [*FAST, *words], request)


def steps_of(name: str) -> list[tuple[str, dict[int, float]]]:
    """Settings and what was kept at each step, of trials that ended by themselves."""
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    kept = study_of(name).get_trials(states=ended)
    return sorted((json.dumps(t.params, sort_keys=True), t.intermediate_values) for t in kept)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 20))
def test_looks_are_spread_over_the_epochs_and_never_at_the_end(epochs: int, looks: int) -> None:
    found = checkpoint_epochs(epochs, looks)
    assert all(0 < epoch < epochs for epoch in found)
    assert len(found) == min(looks, epochs - 1) or epochs < 2 * (looks + 1)
    assert list(found.values()) == sorted(set(found.values()))
    for epoch, look in found.items():
        assert abs(epoch - epochs * look / (looks + 1)) <= 0.5
    if epochs % (looks + 1) == 0:
        assert found == {epochs * j // (looks + 1): j for j in range(1, looks + 1)}


def test_two_epochs_are_looked_at_once_as_the_middle_of_three() -> None:
    assert checkpoint_epochs(2, 3) == {1: 2}
    assert checkpoint_epochs(1, 3) == {}


def test_steps_count_looks_and_ends_of_runs() -> None:
    found = planned("seeds=1,2")
    order = [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0)]
    assert [found.step(*place) for place in order] == list(range(1, 9))
    between = planned("seeds=1,2", prune_points=0)
    assert [between.step(1), between.step(2)] == [1, 2]


def test_looks_belong_to_a_sweep() -> None:
    assert planned().digest() == planned(prune_points=3).digest()
    assert planned().digest() != planned(prune_points=1).digest()
    two = planned(objective=("acc/val", "params/stored"))
    assert (two.checkpoints, planned(pruner="none").checkpoints) == (0, 0)
    assert planned(objective=("time/step_ms",)).checkpoints == 0


@pytest.mark.parametrize(
    "words", [("--pruner", "none"), ("--objective", "acc/val,params/stored"),
              ("--objective", "time/step_ms")]
)  # fmt: skip
def test_looks_that_serve_nothing_are_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(["sweep", "clip_adapter", *FAST, *words, "--prune-points", "2"]) == 2
    assert "--prune-points: needs a pruner" in capsys.readouterr().err


def test_a_bad_trial_ends_inside_its_run_and_is_no_result(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, mix: str
) -> None:
    monkeypatch.setattr("sweeps.study.strategy.SameStepPruner.__init__.__defaults__", (True, 1))
    found = sweep(capsys, mix, *FAST, "--sampler", "grid", "--name", "mine")
    table = trials(found)
    pruned = table[table["end"] == "pruned"]
    assert set(pruned["train.lr"]) == set(BAD)
    assert (pruned["runs"] == 0).all()
    assert pruned["why"].str.fullmatch(r"acc/val_hmean [\d.]+ after epoch [123] of 4").all()
    runs = list(open_ledger().runs())
    assert {r.status for r in runs} == {"finished", "pruned"}
    gone = [r for r in runs if r.status == "pruned"]
    assert len(gone) == len(pruned)
    assert {r.tags["mlflow.parentRunId"] for r in runs} == {gone[0].tags["mlflow.parentRunId"]}
    assert not [name for r in gone for name in r.metrics if name.startswith("acc/")]
    best = table.loc[table["acc/val_hmean"].idxmax(), "number"]
    assert found["best"][0]["trial"] == best
    assert main.call(["leaderboard"]) == 2
    assert "nothing is recorded yet" in capsys.readouterr().err
    rate = pruned.iloc[0]["train.lr"]  # run as a run it is not taken for done
    words = ["method=clip_adapter", f"train.lr={rate}", *FAST]
    assert main.call(["run", "base_to_novel", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["already_recorded"] is False


def test_what_was_kept_is_the_mean_over_the_runs_so_far(
    capsys: pytest.CaptureFixture[str], mix: str
) -> None:
    words = [mix, *FAST, "seeds=1,2", "--sampler", "grid", "--pruner", "hyperband"]
    found = sweep(capsys, *words, "--trials", "1", "--name", "mine")
    (trial,) = study_of(found["name"]).trials
    steps = trial.intermediate_values
    assert list(steps) == [1, 2, 3, 4, 5, 6, 7]
    first, second = (r["acc/val_hmean"] for r in trial.user_attrs["runs"])
    assert steps[4] == first
    ledger = open_ledger()
    by_seed = {run.tags["seed"]: run for run in ledger.runs()}
    looks = ledger.checkpoint_scores(by_seed["2"].id, "acc/val_hmean")
    assert {e: (first + v) / 2 for e, v in looks.items()} == {
        e: pytest.approx(steps[4 + e]) for e in (1, 2, 3)
    }
    assert trial.value == pytest.approx((first + second) / 2)


def test_a_run_that_is_found_brings_its_looks(capsys: pytest.CaptureFixture[str], mix: str) -> None:
    words = [mix, *FAST, "seeds=1,2", "--sampler", "grid"]
    sweep(capsys, *words, "--name", "made")
    count = len(list(open_ledger().runs()))
    sweep(capsys, *words, "--name", "found")
    assert len(list(open_ledger().runs())) == count
    assert steps_of("found") == steps_of("made")
    plain = config.build("base_to_novel", ["method=clip_adapter", *FAST, "seed=1"])
    list(
        driver.run_and_record([plain], "cpu", open_ledger(), ProgressBars(1, quiet=True))
    )  # nothing pruned it
    sweep(capsys, "fields", "method=clip_adapter", *FAST[:3], "--trials", "2", "--name", "plain")


def test_a_sweep_killed_inside_runs_ends_as_one_that_was_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["clip_adapter", "data=digits", "data.shots=4", "train.epochs=24", "seeds=1,2"]
    words += ["--sampler", "random", "--trials", "8"]
    sweep(capsys, *words, "--name", "whole")
    killed = []
    for number, look in ((1, 2), (6, 5)):
        torn = ForkedCommand("sweep", *words, "-q", "--name", "torn")
        begun("torn", number)
        until = time.monotonic() + 60
        while time.monotonic() < until:  # a trial in flight was looked at so often, in which run
            steps = [len(t.intermediate_values) for t in study_of("torn").trials
                     if t.state == TrialState.RUNNING]  # fmt: skip
            if any(n >= look for n in steps) or torn.exit_code is not None:
                break
        torn.kill()  # unless it has ended: how many trials get to a fifth look is up to pruning
        killed.append(torn.exit_code == -signal.SIGKILL)
    assert killed[0]
    sweep(capsys, *words, "--name", "torn")
    assert steps_of("torn") == steps_of("whole")
    assert any(t.state == TrialState.PRUNED for t in study_of("whole").trials)


def test_two_workers_prune_in_one_study_and_a_killed_one_is_replaced() -> None:
    words = ["clip_adapter", "data=digits", "data.shots=2", "train.epochs=8", "--sampler", "random"]
    running = ForkedCommand("sweep", *words, "--trials", "14", "--name", "shared", "--workers", "2")
    begun("shared", 3)
    os.kill(worker_processes(running.pid)[0], signal.SIGKILL)
    shown = running.finish(600)
    assert running.exit_code == 0, shown
    study = optuna.load_study(study_name="shared", storage=study_of("shared")._storage)
    states = [t.state for t in study.trials]
    ended = states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED)
    assert ended == 14
    assert states.count(TrialState.FAIL) <= 1
    assert all(set(t.intermediate_values) <= {1, 2, 3} for t in study.trials)
    table = pd.read_csv(Path(os.environ["RINGBENCH_HOME"]) / "sweeps" / "shared" / "trials.csv")
    assert len(table) == 14
