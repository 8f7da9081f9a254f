"""Prerequisite stages: trained once, read again, also after a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.run import config, stages
from harness.run.execute import execute
from harness.run.source_runs import SourceRun, source_costs
from harness.spec.spec import Spec
from harness.train.fit import EpochRow

WORDS = ["method=adaptable_adapters", "data=digits", "data.shots=1", "train.epochs=2"]
OTHERS = ["data=digits", "data.shots=1", "train.epochs=1", "method.towers=image"]
IN_STAGES = {
    "sfa": ["method=sfa", "method.search_epochs=1", *OTHERS],
    "mera": ["method=mera", "method.sources=1,2", *OTHERS],
}

KILLED = """
import os, signal, sys
from pathlib import Path
from harness.run import config
from harness.run.execute import execute
rows = []
def progress(row):
    rows.append(row)
    if len(rows) == {after}:  # an epoch of the last training
        os.kill(os.getpid(), signal.SIGKILL)
execute(config.build("few_shot", {words!r}), "cpu", progress, store=Path({store!r}), test=False)
"""


def spec(*words: str) -> Spec:
    return config.build("few_shot", [*WORDS, *words])


def killed(words: list[str], after: int, store: Path) -> None:
    """A process that dies by SIGKILL after so many epochs."""
    code = KILLED.format(words=words, after=after, store=str(store))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    died = subprocess.run([sys.executable, "-c", code], env=env, check=False)
    assert died.returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", IN_STAGES)
def test_an_interrupted_run_goes_on_with_the_stages_trained_before(
    name: str, tmp_path: Path
) -> None:
    whole = config.build("few_shot", IN_STAGES[name])
    first = len(stages.stage_specs(whole))
    rows: list[EpochRow] = []

    def interrupt(row: EpochRow) -> None:
        rows.append(row)
        if len(rows) == first + 1:  # an epoch of the last training
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(whole, "cpu", interrupt, store=tmp_path, test=False)
    rows.clear()
    execute(whole, "cpu", rows.append, store=tmp_path, test=False)
    assert len(rows) == 1  # the last training's epoch alone
    kept = sorted(f.name for f in tmp_path.iterdir() if f.is_dir())
    assert kept == sorted(spec.digest() for spec in stages.stage_specs(whole).values())


def test_a_kill_in_the_second_stage_does_not_repeat_the_first(tmp_path: Path) -> None:
    killed(WORDS, 3, tmp_path)
    rows: list[EpochRow] = []
    again = execute(spec(), "cpu", rows.append, store=tmp_path)
    assert len(rows) == 2  # the second stage's epochs alone
    whole = execute(spec(), "cpu")  # everything in one go, with nothing kept
    assert again.state.keys() == whole.state.keys()
    assert all(torch.equal(v, whole.state[n]) for n, v in again.state.items())
    assert again.metrics["time/stages_seconds"] > 0
    assert again.metrics["memory/stages_bytes"] > 0
    chosen = again.tables["chosen_layers"]
    assert sum(map(sum, (row.values() for row in chosen.values()))) >= 1


def test_a_stage_is_a_run_of_its_own_with_its_own_digest() -> None:
    whole = spec()
    first = stages.stage_specs(whole)["switches"]
    assert first == spec("method.focus=false")
    assert first.digest() != whole.digest()
    assert stages.stage_specs(first) == {}


def test_what_a_killed_writer_left_is_no_stage(tmp_path: Path) -> None:
    first = spec("method.focus=false")
    scrap = tmp_path / f".scrap-{first.digest()}"
    scrap.mkdir()
    (scrap / "adapter.safetensors").write_bytes(b"half")
    stage = SourceRun(first, {"x": torch.arange(3.0)}, {"time/train_seconds": 2.0})
    loaded = stages.load_stage(first, tmp_path, lambda spec: stage)
    assert torch.equal(loaded.state["x"], stage.state["x"])

    def never(spec: Spec) -> SourceRun:
        raise AssertionError("trained twice")

    assert stages.load_stage(first, tmp_path, never).metrics == stage.metrics


def test_costs_of_stages_add_up() -> None:
    one = {"time/train_seconds": 2.0, "memory/peak_bytes": 5.0}
    two = {"time/train_seconds": 3.0, "memory/peak_bytes": 4.0}
    two |= {"time/stages_seconds": 7.0, "memory/stages_bytes": 9.0}
    assert source_costs([], []) == {}
    costs = source_costs([SourceRun(spec(), {}, metrics) for metrics in (one, two)], [])
    assert costs == {"time/stages_seconds": pytest.approx(12.0), "memory/stages_bytes": 9.0}
