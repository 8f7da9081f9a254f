"""Equal budgets: every method tuned alike on validation data, each winner tested once."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from harness.cli import main
from harness.run import config
from harness.tracking.ledger import open_ledger
from tests.sweeps.processes import sweep

FAST = ["data=digits", "data.shots=1", "train.epochs=1"]


@pytest.fixture(autouse=True)
def ready(store: Path, own_home: Path) -> None:
    """Every test begins with an empty store."""
    own_home.mkdir()
    shutil.copy(store, own_home)


def test_equal_budgets_tune_on_validation_and_test_each_winner_once(
    capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    words = ["--methods", "linear_probe,clip_adapter", "--budget", "2", "--fresh", "2", *FAST]
    found = sweep(capsys, *words, "seeds=1,2", "--name", "fair")
    assert {s["name"] for s in found["sweeps"]} == {"fair-linear_probe", "fair-clip_adapter"}
    assert [s["ends"] for s in found["sweeps"]] == [{"complete": 2}, {"complete": 2}]
    assert found["seeds"] == [3, 4]
    runs = list(open_ledger().runs())
    tested = [r for r in runs if r.tested]
    assert {r.tags["seed"] for r in tested} == {"3", "4"}
    assert {r.tags["seed"] for r in runs if not r.tested} == {"1", "2"}
    assert {r.tags["test_reads"] for r in tested} == {"1"}
    assert len(tested) == 4
    for row in found["table"]:
        mine = [r.metrics["acc/hmean"] for r in tested if r.tags["method"] == row["method"]]
        assert row["acc/hmean"] == pytest.approx(sum(mine) / 2)
    assert main.call(["report", "--sweep", "fair"]) == 0
    files = {p.name for p in (own_home / "report" / "fair").iterdir()}
    assert {"leaderboard.csv", "leaderboard.md", "curves.png", "curves.svg", "curves.csv"} <= files
    pair = pd.read_csv(own_home / "report" / "fair" / "compare.csv").iloc[0]
    assert (pair["first"], pair["second"]) == ("clip_adapter", "linear_probe")
    means = {row["method"]: row["acc/hmean"] for row in found["table"]}
    assert pair["difference"] == pytest.approx(means["clip_adapter"] - means["linear_probe"])
    curves = pd.read_csv(own_home / "report" / "fair" / "curves.csv")
    assert curves["method"].value_counts().to_dict() == {"linear_probe": 2, "clip_adapter": 2}
    manifest = str(own_home / "report" / "fair" / "contest.manifest.json")
    capsys.readouterr()
    assert main.call(["verify", manifest]) == 0
    assert "files: 11 hashed, 8 rebuilt from 12 runs" in capsys.readouterr().err
    again = sweep(capsys, *words, "seeds=1,2", "--name", "fair")
    assert again["table"] == found["table"]
    assert len(list(open_ledger().runs())) == len(runs)


def test_a_method_may_stand_with_several_settings_and_be_tuned_in_its_rate_alone(
    capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    entrants = ["--methods", "clip_adapter", "--candidate", "clip_adapter ratio=0.9"]
    search = ["--budget", "5", "--sampler", "grid", "--fresh", "1", "--name", "ratios"]
    words = ["learning_rate", *entrants, *search, *FAST]
    found = sweep(capsys, *words)
    assert [row["method"] for row in sorted(found["table"], key=lambda r: len(r["method"]))] == [
        "clip_adapter", "clip_adapter ratio=0.9"
    ]  # fmt: skip
    usual = config.build("base_to_novel", ["method=clip_adapter", *FAST]).train.lr
    for one in found["sweeps"]:
        rates = [
            json.loads(text)
            for text in pd.read_csv(Path(one["folder"]) / "trials.csv")["train.lr"].astype(str)
        ]
        assert sorted(rates) == pytest.approx([usual * x for x in (0.25, 0.5, 1, 2, 4)])
    ratios = [r.params["method.ratio"] for r in open_ledger().runs() if r.tested]
    assert sorted(ratios) == ["0.2", "0.9"]
    assert main.call(["report", "--sweep", "ratios"]) == 0
    curves = pd.read_csv(own_home / "report" / "ratios" / "curves.csv")
    assert set(curves["method"]) == {"clip_adapter", "clip_adapter ratio=0.9"}
