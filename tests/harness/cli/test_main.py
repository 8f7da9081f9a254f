"""The command line as a person meets it: what works, and what wrong input is told."""

import io
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from harness.cli import listing, main
from harness.model import backbone
from methods import find

FAST = ["data=digits", "data.shots=1", "train.epochs=1"]


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (shade, 255 - shade, 90)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def own_set(tmp_path: Path) -> Path:
    """Somebody's own data set: three classes of eight pictures."""
    rows = [(c, i) for c in range(3) for i in range(8)]
    table = {
        "image": [png(80 * c + i) for c, i in rows],
        "label": [c for c, _ in rows],
        "classname": [("red thing", "green thing", "blue thing")[c] for c, _ in rows],
        "split": ["train" if i < 5 else "test" for _, i in rows],
    }
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table(table), path)
    return path


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with one recorded run, to be copied."""
    folder = tmp_path_factory.mktemp("recorded") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RINGBENCH_HOME", str(folder))
        assert main.call(["run", "base_to_novel", "method=zero_shot", *FAST, "-q"]) == 0
    return folder


@pytest.fixture
def recorded(one_run: Path, own_home: Path) -> Path:
    """The folder of results of this test, with one recorded run."""
    shutil.copytree(one_run, own_home)
    return own_home


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a wrong command is told; checks the exit code."""
    assert main.call(list(arguments)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "Traceback" not in shown.err
    return shown.err


def test_a_run_is_recorded_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "base_to_novel", "method=linear_probe", *FAST]
    assert main.call(words) == 0
    assert "linear_probe on digits, seed 1: val" in capsys.readouterr().err
    assert main.call(words) == 0
    assert "[already recorded]" in capsys.readouterr().err
    assert main.call([*words, "--force", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["status"] == "finished"
    assert first["already_recorded"] is False
    assert main.call([*words, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["already_recorded"] is True
    assert again["metrics"]["acc/base"] == first["metrics"]["acc/base"]


def test_a_run_says_what_it_computed_once(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "base_to_novel", "method=lora", "method.layers=top:2", *FAST]
    assert main.call(words) == 0
    assert "cached: text tokens before block 5 (" in capsys.readouterr().err
    assert main.call([*words, "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)
    assert "image tokens before block 11 of 5 images (" in kept["cache"]
    assert main.call([*words, "--force", "--json", "--cache", "off"]) == 0
    off = json.loads(capsys.readouterr().out)
    assert off["cache"] == "cached: nothing (--cache off)"
    assert off["metrics"]["cache/bytes"] == off["metrics"]["cache/saved_percent"] == 0
    assert kept["metrics"]["cache/bytes"] > 0
    assert kept["metrics"]["flops/step"] < off["metrics"]["flops/step"] / 3
    assert kept["metrics"]["acc/base"] == off["metrics"]["acc/base"]


@pytest.mark.parametrize("verb", ["run", "suite"])
def test_a_budget_that_is_none_is_refused(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [verb, "base_to_novel", "method=lora" if verb == "run" else "methods=lora", *FAST]
    assert "--cache 'much': expected auto, off" in refused(capsys, *words, "--cache", "much")


def test_a_dry_run_runs_nothing(capsys: pytest.CaptureFixture[str], own_home: Path) -> None:
    words = ["run", "base_to_novel", "method=adaring", *FAST, "--dry-run", "--json"]
    assert main.call(words) == 0
    plan = json.loads(capsys.readouterr().out)
    ring, clip = find("adaring")(), backbone.backbone_outline("embedded").clip
    expected = 0
    for tower in (clip.image, clip.text):  # q, k, v: slices (r, 3 L, r), two cores (r, d, r2)
        r, r2 = ring.slice_size, ring.ring_rank
        expected += 3 * tower.depth * r * r + 2 * tower.width * r * r2
    assert plan["parameters"]["trainable"] == expected
    assert plan["spec"]["data"]["shots"] == 1
    assert not own_home.exists()


def test_a_parquet_file_is_a_data_set(own_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["suite", "few_shot", "methods=zero_shot,linear_probe", f"data={own_set}"]
    assert main.call([*words, "shots=2", "data.val_shots=1", "seeds=1,2", "-q"]) == 0
    assert main.call(["leaderboard", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {r["method"] for r in rows} == {"zero_shot", "linear_probe"}
    assert all(r["acc/test_n"] == 2 for r in rows)
    assert main.call(["pareto"]) == 0


@pytest.mark.parametrize("what", ["methods", "datasets", "backbones", "protocols", "presets"])
def test_everything_can_be_listed(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["ls", what, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows
    assert main.call(["ls", what]) == 0
    shown = capsys.readouterr().out
    first = str(next(iter(rows[0].values())))
    assert first in shown


def test_the_list_of_methods_says_what_they_are() -> None:
    columns, rows = listing.read_listing("methods")
    by_name = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
    assert by_name["lora"]["trainable (ViT-B/16)"] == 184_320
    assert by_name["lora"]["folds"] == "yes"
    assert by_name["adaring"]["identity at start"] == "yes"
    assert by_name["clip_adapter"]["towers"] == "image"


def test_the_doctor_finds_a_healthy_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert all(f["ok"] for f in findings)
    assert {"embedded backbone", "ledger", "home", "device"} <= {f["what"] for f in findings}


def test_the_doctor_finds_a_dead_server(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main.call(["doctor", "--json", "--tracking-uri", "http://127.0.0.1:9"]) == 1
    (bad,) = [f for f in json.loads(capsys.readouterr().out) if not f["ok"]]
    assert "does not answer" in bad["found"]


WRONG = {
    ("rum", "base_to_novel"): "Did you mean 'run'?",
    ("run",): "Missing argument",
    ("run", "base2novel", "method=lora"): "preset 'base2novel': unknown, did you mean",
    ("run", "base_to_novel", "--fast"): "No such option: --fast",
    ("run", "base_to_novel"): "method: missing",
    ("run", "base_to_novel", "method=lore"): "did you mean 'lora'?",
    ("run", "base_to_novel", "method=lora", "method.rnk=4"): "did you mean 'rank'?",
    ("run", "base_to_novel", "method=lora", "method.rank=0"): "must be greater than 0, got 0",
    ("run", "base_to_novel", "method=lora", "method.rank=4000"): "larger than the width",
    ("run", "base_to_novel", "method=lora", "data=icons"): "did you mean 'icon-concepts'?",
    ("run", "base_to_novel", "method=lora", "data=none.parquet"): "none.parquet: no such file",
    ("run", "base_to_novel", "method=lora", "data=flags", "shots=99"): "data.shots: class",
    ("run", "base_to_novel", "method=lora", "backbone=RN50", "pretrained=random"): "a ResNet",
    ("run", "base_to_novel", "method=lora", "backbone=RN50", "pretrained=openai"): "a ResNet",
    ("run", "base_to_novel", "method=lora", "backbone=ViT-B16"): "did you mean 'ViT-B-16'",
    ("run", "base_to_novel", "method=lora", "backbone=ViT-B-16"): "needs weights",
    ("run", "base_to_novel", "method=lora", "--device", "tpu"): "expected auto, cpu or cuda",
    ("run", "base_to_novel", "method=lora", "--steps", "fast"): "expected auto, eager, compiled",
    ("run", "base_to_novel", "method=lora", "backbone.precision=fp64"): "backbone.precision",
    ("run", "base_to_novel", "method=lora", "--threads", "-1"): "--threads",
    ("run", "base_to_novel", "method=lora", "--threads", "100000000"): "--threads",
    ("run", "base_to_novel", "method=lora", "data=."): "class folder",
    ("run", "base_to_novel", "method=lora", "data="): "data set '': unknown",
    ("run", "base_to_novel", "method="): "method '': unknown",
    ("run", "base_to_novel", "method=lora", "метод=лора"): "метод: unknown",
    ("run", "base_to_novel", "method=lora", "data=digits", "--tracking-uri", "postgresql://a/b"): (
        "does not answer"
    ),
    ("view", "--storage", "sweeps"): "expected an address, such as postgresql://",
    ("suite", "base_to_novel", "methods=lora", "--workers", "0"): "--workers",
    ("suite", "base_to_novel", "methods=lora", "seeds=1,1.5"): "seed: expected a whole number",
    ("ls", "method"): "did you mean 'methods'?",
    ("params", "lorra"): "did you mean 'lora'?",
    ("params", "lora", "train.lr=1"): "params takes settings of the method only",
    ("params", "lora", "--backbone", "RN50"): "a ResNet",
    ("params", "lora", "--classes", "0"): "--classes",
    ("params", "lora", "--classes", "1000000000000"): "--classes",
    ("params", "lora", "--backbone", ""): "more",
    ("leaderboard",): "nothing is recorded yet",
    ("pareto", "--cost", "params/trainable"): "nothing is recorded yet",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_input_is_told_in_one_line(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert WRONG[arguments] in refused(capsys, *arguments)


def test_an_unknown_metric_names_the_nearest(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "did you mean 'params/stored'" in refused(capsys, "pareto", "--cost", "params/storde")
    assert "recorded: base_to_novel" in refused(capsys, "leaderboard", "--protocol", "few_shot")


@pytest.mark.parametrize("report", ["leaderboard", "pareto"])
def test_a_report_that_cannot_be_written_is_told_in_one_line(
    report: str, recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    told = refused(capsys, report, "--out", str(tmp_path / "file"))
    assert "cannot be written to (File exists); set --out to a folder that can" in told
    (tmp_path / "out" / f"{report}.csv").mkdir(parents=True)
    told = refused(capsys, report, "--out", str(tmp_path / "out"))
    assert f"{report}.csv: Is a directory" in told


def test_broken_files_are_told_in_one_line(
    own_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = own_set.read_bytes()
    run = ["run", "few_shot", "method=lora", f"data={own_set}", "shots=1", "data.val_shots=1"]
    own_set.write_bytes(whole[: len(whole) // 2])
    assert "not a readable Parquet file" in refused(capsys, *run)
    own_set.write_bytes(b"")
    assert "not a readable Parquet file" in refused(capsys, *run)


def test_a_corrupt_image_is_told_in_one_line(
    own_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pq.read_table(own_set).to_pydict()
    table["image"][4] = table["image"][4][:40]
    broken = tmp_path / "broken.parquet"
    pq.write_table(pa.table(table), broken)
    words = ["method=lora", f"data={broken}", "shots=1", "data.val_shots=1"]
    assert "row 4 (class 'red thing') cannot be read" in refused(capsys, "run", "few_shot", *words)


def test_a_folder_without_permission_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    monkeypatch.setenv("RINGBENCH_HOME", str(folder / "runs"))
    if os.geteuid() == 0:  # root may write anywhere but below a file
        folder.rmdir()
        folder.write_text("")
    else:
        folder.chmod(0o500)
    words = ["run", "base_to_novel", "method=zero_shot", *FAST]
    assert "cannot be written to" in refused(capsys, *words)


def test_a_failed_run_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "base_to_novel", "method=linear_probe", "data=digits", "data.shots=1"]
    assert main.call([*words, "train.lr=1e38", "train.warmup=0", "-q"]) == 1
    assert "failed: the loss is" in capsys.readouterr().err


HEAVY = ("torch", "mlflow", "optuna", "pandas", "open_clip")


def loaded_by(*commands: tuple[str, ...]) -> tuple[list[int], list[str]]:
    """The exit codes of commands in a process of their own, and the heavy modules they import."""
    program = (
        "import json, sys; from harness.cli import main;"
        " codes = [main.call(words) for words in json.loads(sys.argv[1])];"
        f" print(json.dumps([codes, [m for m in {HEAVY} if m in sys.modules]]))"
    )
    words = [sys.executable, "-c", program, json.dumps(commands)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    codes, modules = json.loads(done.stdout.splitlines()[-1])
    return codes, modules


def command_names() -> list[str]:
    """The words that may follow ``ringbench``."""
    app = main.build_app()
    single = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    return [*single, *(str(group.name) for group in app.registered_groups)]


def test_help_version_and_mistyped_words_import_nothing_heavy() -> None:
    help_texts = [(), ("--help",), ("--version",)]
    help_texts += [(name, "--help") for name in command_names()]
    mistyped = [("rum",), ("run", "few_shot", "--fast"), ("ls", "method"), ("run", "few_shots")]
    lora = ("run", "few_shot", "method=lora")
    mistyped += [(*lora, "method.rnk=4", "data=digits"), (*lora, "data=digts"), (*lora, "foo=1")]
    mistyped += [("run", "few_shot", "method=lore"), ("params", "lora", "method.rnk=4")]
    mistyped += [("suite", "few_shot", "methods=lora", words) for words in ("shot=1", "data=digts")]
    codes, modules = loaded_by(*help_texts, *mistyped)
    assert codes == [2, *[0] * (len(help_texts) - 1), *[2] * len(mistyped)]
    assert modules == []


def test_listings_import_nothing_heavy() -> None:
    words = ("methods", "presets", "spaces", "datasets", "protocols", "backbones")
    assert loaded_by(*(("ls", what) for what in words)) == ([0] * len(words), [])


def test_reading_a_ledger_needs_neither_torch_nor_mlflow(recorded: Path) -> None:
    codes, modules = loaded_by(("ls", "runs"), ("leaderboard",))
    assert codes == [0, 0]
    assert modules == ["pandas"]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["--version"]) == 0
    assert capsys.readouterr().out == f"ringbench {version('ringbench')}\n"


def test_piped_output_is_plain_lines() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from harness.cli.main import main; main()", "run", "base_to_novel",
         "method=linear_probe", *FAST],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout == ""
    assert "\x1b" not in done.stderr
    assert done.stderr.startswith("linear_probe on digits, seed 1: val")


def test_the_command_does_not_load_what_it_does_not_need() -> None:
    program = (
        "import sys; from harness.spec import environment; environment.mark_own_process();"
        " import harness.model.backbone;"
        " assert 'transformers' not in sys.modules; import transformers;"
        " assert transformers.__version__"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
