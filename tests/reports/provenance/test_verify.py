"""`ringbench verify` of a table: a number that is another one is named, wherever it was changed."""

import csv
import hashlib
import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from harness.cli import main
from harness.spec.paths import home_folder
from harness.tracking.ledger import open_ledger
from harness.tracking.run_record import Run

FAST = ["data=digits,flags", "data.shots=1", "data.val_shots=1", "seeds=1,2", "-q"]
MADE = (
    ["leaderboard"],
    ["pareto", "--cost", "time/train_seconds", "--per-data"],
    ["compare", "linear_probe", "zero_shot"],
)
Say = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of two methods, and the files of every command beside it."""
    monkey = pytest.MonkeyPatch()
    place = tmp_path_factory.mktemp("home")
    monkey.setenv("RINGBENCH_HOME", str(place))
    suite = ["suite", "few_shot", "methods=zero_shot,linear_probe", "train.epochs=1", *FAST]
    assert main.call(suite) == 0
    for words in MADE:
        assert main.call([*words, "--out", str(place / "report")]) == 0
    monkey.undo()
    return place


@pytest.fixture
def report(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RINGBENCH_HOME", str(made))
    return Path(shutil.copytree(made / "report", tmp_path / "report"))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def call(*words: str | Path) -> tuple[int, str]:
        capsys.readouterr()
        code = main.call(["verify", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def changed_ledger(folder: Path, statement: str) -> str:
    """A copy of the ledger in which somebody has changed something; its address."""
    store = folder / "changed.db"
    shutil.copy(home_folder() / "mlflow.db", store)
    with closing(sqlite3.connect(store)) as db, db:
        assert db.execute(statement).rowcount > 0
    return f"sqlite:///{store}"


def run_of(method: str, dataset: str, seed: int) -> Run:
    wanted = (method, dataset, str(seed))
    return next(r for r in open_ledger().runs()
                if (r.tags["method"], r.tags["dataset"], r.tags["seed"]) == wanted)  # fmt: skip


def test_tables_as_they_were_written_are_equal(report: Path, say: Say) -> None:
    tables = sorted(p for p in report.iterdir() if p.suffix in (".csv", ".json"))
    assert len(tables) == 8
    for path in tables:
        code, said = say(path)
        assert (code, "all is equal" in said) == (0, True), (path, said)
        assert "from 8 runs" in said
    assert "files: 5 hashed, 2 rebuilt" in say(report / "pareto.manifest.json")[1]


@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize("name", ["leaderboard", "pareto", "pareto-families", "compare-datasets"])
def test_a_digit_that_was_changed_is_named(name: str, forged: bool, report: Path, say: Say) -> None:
    """File, row, column, what it is and what it was; also where the manifest was changed too."""
    path = report / f"{name}.csv"
    rows = list(csv.reader(io.StringIO(path.read_text())))
    i, j = next((i, j) for i, row in enumerate(rows) for j, cell in enumerate(row)
                if i and cell.count(".") == 1 and cell[-1] not in "0.")  # fmt: skip
    was = rows[i][j]
    rows[i][j] = was[:-1] + "0"
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue())
    manifest = report / f"{name.split('-')[0]}.manifest.json"
    if forged:
        facts = json.loads(manifest.read_text())
        facts["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        manifest.write_text(json.dumps(facts))
    for asked in (path, manifest):
        code, said = say(asked)
        assert code == 1
        (line,) = [x for x in said.splitlines() if x.startswith(path.name)]
        assert line.startswith(f"{path.name}: row {i} (")
        assert line.endswith(f"column {rows[0][j]}: is {rows[i][j]}, should be {was}")
        assert "1 things do not match" in said


def test_a_ledger_that_was_changed_is_named_by_number_and_by_run(report: Path, say: Say) -> None:
    run = run_of("linear_probe", "flags", 2)
    was = run.metrics["acc/test"]
    uri = changed_ledger(
        report,
        f"UPDATE latest_metrics SET value = value + 1 WHERE key = 'acc/test' AND"
        f" run_uuid = '{run.id}'",
    )
    code, said = say(report / "leaderboard.csv", "--tracking-uri", uri)
    assert code == 1
    lines = said.splitlines()
    here = "leaderboard.csv: row "
    assert any(x.startswith(here) and "linear_probe, " in x and "acc/test_mean" in x for x in lines)
    assert not any(x.startswith(here) and "zero_shot" in x and "acc/test_mean" in x for x in lines)
    answers = f"the ledger: run {run.id}, metrics, acc/test: is {was + 1!r}, should be {was!r}"
    assert answers in lines
    assert say(report / "compare.csv", "--tracking-uri", uri)[0] == 1
    uri = changed_ledger(
        report, f"UPDATE tags SET value = 'f00' WHERE key = 'subset_hash' AND run_uuid = '{run.id}'"
    )
    code, said = say(report / "leaderboard.csv", "--tracking-uri", uri)
    there = f"leaderboard.manifest.json: runs, {run.id}, subset_hash: is "
    assert any(x.startswith(there) and 'should be "f00"' in x for x in said.splitlines())


def test_runs_that_are_gone_and_runs_that_came_later_are_told(report: Path, say: Say) -> None:
    run = run_of("linear_probe", "flags", 2)
    gone = f"UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = '{run.id}'"
    code, said = say(report / "pareto.csv", "--tracking-uri", changed_ledger(report, gone))
    assert code == 1
    assert f"the ledger: run {run.id}: missing" in said
    manifest = report / "pareto.manifest.json"
    facts = json.loads(manifest.read_text())
    facts["read"].remove(run.id)  # as if the tables were made before that run
    manifest.write_text(json.dumps(facts))
    code, said = say(report / "pareto.csv")
    assert code == 1
    assert "the ledger has 1 more runs of this protocol and backbone" in said


def test_other_files_of_a_manifest_are_hashed(report: Path, say: Say) -> None:
    (report / "pareto.svg").write_text("<svg/>")
    (report / "pareto.pdf").unlink()
    code, said = say(report / "pareto.manifest.json")
    assert code == 1
    assert "pareto.svg: SHA-256: is " in said
    assert "pareto.pdf: missing" in said
    page = report / "leaderboard.md"
    page.write_text(page.read_text().replace("in per cent", "in percent"))
    (line,) = [x for x in say(page)[1].splitlines() if x.startswith("leaderboard.md: line ")]
    assert "in percent" in line


def test_as_json_what_differs_is_listed(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (report / "pareto.svg").write_text("<svg/>")
    assert main.call(["verify", str(report / "pareto.manifest.json"), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert [p["file"] for p in facts["problems"]] == ["pareto.svg"]
    assert (facts["files"], facts["tables"], facts["runs"]) == (5, 2, 8)


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (None, "no manifest beside it lists this file"),
        ("{", "damaged"),
        ('{"kind": "ringbench site"}', "of something else"),
        ('{"kind": "ringbench tables", "files": {"a.csv": 3}}', "damaged"),
    ],
)
def test_what_has_no_manifest_is_wrong_usage(
    manifest: str | None, says: str, tmp_path: Path, say: Say
) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    if manifest is not None:
        (tmp_path / "a.manifest.json").write_text(manifest)
    code, said = say(tmp_path / "a.csv")
    assert (code, len(said.strip().splitlines())) == (2, 1)
    assert says in said
    assert say(tmp_path / "b.csv")[0] == 2


def test_a_ledger_without_the_runs_is_wrong_usage(
    report: Path, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = changed_ledger(report, "UPDATE runs SET lifecycle_stage = 'deleted'")
    code, said = say(report / "leaderboard.csv", "--tracking-uri", nothing)
    assert (code, "none of its 8 runs is in the ledger" in said) == (2, True)
    code, said = say(report / "leaderboard.csv", "--from", "records")
    assert (code, "goes with a site" in said) == (2, True)
    monkeypatch.setenv("RINGBENCH_HOME", str(tmp_path / "elsewhere"))
    code, said = say(report / "leaderboard.csv")
    assert (code, "there is no ledger here" in said) == (2, True)
    assert not (tmp_path / "elsewhere" / "mlflow.db").exists()
