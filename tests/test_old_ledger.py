"""A ledger written by the last version before the rooms: its numbers are what they were.

``fixtures/old_ledger/ledger.tar.xz`` is a suite of lora and zero_shot on two data sets and a sweep;
adapters that nothing here reads are left out. The files beside it are what that version made of it.
"""

import json
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.cli import main
from harness.run import config
from harness.tracking.ledger import open_ledger

FILES = Path(__file__).parent / "fixtures" / "old_ledger"
PLACEHOLDER = "OLD_HOME"  # stands for the folder of the ledger in the files of the archive
LORA = ["method=lora", "data=flags", "shots=1", "data.val_shots=1", "train.epochs=2"]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("old") / "runs"
    with tarfile.open(FILES / "ledger.tar.xz") as archive:
        archive.extractall(home, filter="data")
    place = str(home).removeprefix("/")
    with closing(sqlite3.connect(home / "mlflow.db")) as store, store:
        for table, column in (("runs", "artifact_uri"), ("experiments", "artifact_location")):
            update = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            store.execute(update, (PLACEHOLDER, place))
    facts = home / "sweeps" / "small" / "sweep.json"
    facts.write_text(facts.read_text().replace(PLACEHOLDER, place))
    return home


@pytest.fixture(autouse=True)
def old_home(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RINGBENCH_HOME", str(unpacked))
    return unpacked


def same_table(file: Path, expected: str) -> None:
    """Every column of the old file is in the new one, with the same values."""
    new, old = pd.read_csv(file), pd.read_csv(FILES / expected)
    pd.testing.assert_frame_equal(new[list(old.columns)], old, check_exact=False, rtol=1e-12)


def numbers(value: Any) -> Any:
    """JSON without texts, in one list for each key path."""
    if isinstance(value, dict):
        return {k: numbers(v) for k, v in value.items() if not isinstance(v, str)}
    return [numbers(item) for item in value] if isinstance(value, list) else value


def test_its_runs_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["ls", "runs", "--json"]) == 0
    old = json.loads((FILES / "runs.json").read_text())
    new = json.loads(capsys.readouterr().out)
    assert [list(row.values()) for row in new] == [list(row.values()) for row in old]


def test_its_leaderboard_front_and_comparison_are_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(["leaderboard", "--out", str(tmp_path)]) == 0
    same_table(tmp_path / "leaderboard.csv", "leaderboard.csv")
    assert main.call(["pareto", "--out", str(tmp_path)]) == 0
    same_table(tmp_path / "pareto.csv", "pareto.csv")
    same_table(tmp_path / "pareto-families.csv", "pareto-families.csv")
    capsys.readouterr()
    assert main.call(["compare", "lora", "zero_shot", "--json"]) == 0
    new = json.loads(capsys.readouterr().out)
    assert numbers(new) == numbers(json.loads((FILES / "compare.json").read_text()))


def test_its_sweep_is_reported(tmp_path: Path) -> None:
    assert main.call(["report", "--sweep", "small", "--out", str(tmp_path)]) == 0
    for name in ("front", "map", "importances", "curves"):
        same_table(tmp_path / f"{name}.csv", f"sweep-{name}.csv")


def test_its_site_has_the_same_tables(tmp_path: Path) -> None:
    assert main.call(["report", "--out", str(tmp_path)]) == 0
    files = tmp_path / "boards" / "few_shot-embedded" / "files"
    same_table(files / "leaderboard.csv", "leaderboard.csv")
    same_table(files / "pareto.csv", "pareto.csv")
    assert "56.05" in (files.parent / "index.html").read_text()


def test_a_spec_typed_again_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    spec = config.build("few_shot", LORA)
    assert spec.digest() == "9684b7e94a47f5ec"
    assert main.call(["run", "few_shot", *LORA]) == 0
    assert "[already recorded]" in capsys.readouterr().err


def test_every_stored_spec_has_the_same_run_id(unpacked: Path) -> None:
    ledger = open_ledger()
    for run in ledger.runs():
        stored = json.loads(ledger.artifact(run.id, "spec.json") or b"")
        assert config.from_dict(stored).digest() == run.digest


def test_reading_it_imports_neither_torch_nor_mlflow(unpacked: Path) -> None:
    script = (
        "import sys; from harness.tracking.ledger import open_ledger\n"
        "run = open_ledger().find_by_prefix('9684b7'); assert open_ledger().predictions(run.id)\n"
        "print(sorted({'torch', 'mlflow', 'pandas', 'open_clip'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
