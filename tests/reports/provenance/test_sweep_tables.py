"""`ringbench verify` of what is written about a sweep: made again from its trials and runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from harness.cli import main
from harness.spec.paths import home_folder
from reports.provenance.manifest import read_manifest

FAST = ["data=digits", "data.shots=1", "data.val_shots=2", "train.epochs=1", "-q"]
WORDS = ["lora_rank", "seeds=1,2", "--pruner", "none", "--name", "mine", *FAST]
Say = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of four trials and the files of both commands, in one folder."""
    monkey = pytest.MonkeyPatch()
    place = tmp_path_factory.mktemp("home")
    monkey.setenv("RINGBENCH_HOME", str(place))
    assert main.call(["sweep", *WORDS, "--trials", "4"]) == 0
    assert main.call(["report", "--sweep", "mine"]) == 0
    assert main.call(["pareto", "--sweep", "mine", "--cost", "time/train_seconds"]) == 0
    monkey.undo()
    return place


@pytest.fixture
def report(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the sweep, in a copy of the whole home."""
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    monkeypatch.setenv("RINGBENCH_HOME", str(copy))
    return copy / "report" / "mine"


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], made: Path) -> Say:
    def call(*words: str | Path) -> tuple[int, str]:
        capsys.readouterr()
        uri = f"sqlite:///{made}/mlflow.db"  # artifacts are where they were recorded
        code = main.call([*map(str, words), "--tracking-uri", uri])
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def test_every_table_of_a_sweep_is_equal_and_names_its_runs(report: Path, say: Say) -> None:
    tables = sorted(report.glob("*.csv"))
    assert {p.stem for p in tables} >= {"front", "curves", "pareto"}
    for path in (*tables, report / "sweep.manifest.json", report / "pareto.manifest.json"):
        code, said = say("verify", path)
        assert (code, "all is equal" in said) == (0, True), (path, said)
    manifest = read_manifest(report / "sweep.manifest.json")
    trials = pd.read_csv(home_folder() / "sweeps" / "mine" / "trials.csv")
    assert [row["trial"] for row in manifest.rows] == trials["number"].tolist()
    digests = [" ".join(manifest.runs[r]["digest"] for r in row["runs"]) for row in manifest.rows]
    assert digests == trials["digests"].tolist()
    assert all(told["subset_hash"] for told in manifest.runs.values())


def test_a_digit_of_the_front_and_a_trial_that_was_changed_are_named(
    report: Path, say: Say
) -> None:
    front = report / "front.csv"
    table = pd.read_csv(front)
    was = table.loc[1, "acc/val_hmean"]
    table.loc[1, "acc/val_hmean"] = was + 1
    table.to_csv(front, index=False, lineterminator="\n")
    code, said = say("verify", front)
    assert code == 1
    assert f"column acc/val_hmean: is {was + 1}, should be {was}" in said
    stored = home_folder() / "sweeps" / "mine" / "trials.csv"
    trials = pd.read_csv(stored)
    trials["acc/val_hmean"] += 1
    trials.to_csv(stored, index=False)
    code, said = say("verify", report / "curves.csv")
    assert code == 1
    assert sum(x.startswith("sweeps/mine/trials.csv: trial ") for x in said.splitlines()) == 4


def test_a_sweep_that_went_on_is_made_again_as_it_was(report: Path, say: Say) -> None:
    stored = home_folder() / "sweeps" / "mine" / "trials.csv"
    trials = pd.read_csv(stored)
    more = trials.iloc[:1].assign(order=len(trials), number=len(trials))
    pd.concat([trials, more]).to_csv(stored, index=False)
    for name in ("sweep", "pareto"):
        code, said = say("verify", report / f"{name}.manifest.json")
        assert (code, "the sweep has 1 more trials by now" in said) == (0, True), said
    trials.iloc[1:].to_csv(stored, index=False)
    code, said = say("verify", report / "front.csv")
    assert (code, "sweep mine: 1 trials are gone" in said) == (1, True)


def test_trials_in_a_manifest_that_are_no_numbers_are_damage(report: Path, say: Say) -> None:
    path = report / "sweep.manifest.json"
    facts = json.loads(path.read_text())
    facts["settings"]["trials"] = {"mine": "all"}
    path.write_text(json.dumps(facts))
    code, said = say("verify", path)
    assert (code, "damaged, or of another version" in said) == (2, True)
