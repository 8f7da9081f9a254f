"""Own data without code: folders and tables become data sets, whatever lies around."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cli import main
from harness.data import registry, split
from harness.data.readers import own_data
from harness.run import config
from methods.kit.core.errors import UsageError
from tests.drawn_images import class_folders, encoded, listed, split_folders, write


@pytest.fixture(autouse=True)
def read_anew() -> None:
    registry._read.cache_clear()


def test_a_folder_of_class_folders_is_a_data_set(tmp_path: Path) -> None:
    table = registry.read_dataset(str(class_folders(tmp_path / "pets", images=10)))
    assert table.name == "pets"
    assert table.classnames == ("cat", "dog", "owl")
    assert [len(table.rows(part)) for part in ("train", "val", "test")] == [21, 0, 9]
    assert np.bincount(table.labels[table.rows("test")]).tolist() == [3, 3, 3]
    for row in (0, 15, 29):
        assert table.images[row] == (tmp_path / "pets" / table.paths[row]).read_bytes()
        assert table.paths[row].startswith(table.classnames[table.labels[row]])


def test_folders_may_have_their_splits(tmp_path: Path) -> None:
    table = registry.read_dataset(str(split_folders(tmp_path / "p", "Training", "valid", "test")))
    assert [len(table.rows(part)) for part in ("train", "val", "test")] == [12, 12, 12]
    assert table.paths[table.rows("val")[0]] == "valid/cat/000.png"


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    table = registry.read_dataset(str(class_folders(tmp_path / "p", ("boat", "car", "train"))))
    assert table.classnames == ("boat", "car", "train")


def test_what_lies_around_is_not_in_the_way(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "p")
    digest = registry.read_dataset(str(root)).digest
    (root / ".git").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "notes.txt").write_text("mine")
    (root / "cat" / ".DS_Store").write_text("x")
    (root / "cat" / "Thumbs.db").write_text("x")
    registry._read.cache_clear()
    table = registry.read_dataset(str(root))
    assert table.digest == digest
    assert table.ignored == ("cat/Thumbs.db",)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_of_paths_is_the_same_data_set_as_its_folders(suffix: str, tmp_path: Path) -> None:
    path = write(listed(tmp_path / "p"), tmp_path / "p" / f"t{suffix}")
    table = registry.read_dataset(str(path))
    assert table.classnames == ("cat", "dog", "owl")
    assert [len(table.rows(part)) for part in ("train", "test")] == [9, 3]
    assert table.where(4) == str(tmp_path / "p" / "dog" / "000.png")
    split_less = write(listed(tmp_path / "p", split=False), tmp_path / "p" / f"u{suffix}")
    assert (
        registry.read_dataset(str(split_less)).digest
        == registry.read_dataset(str(tmp_path / "p")).digest
    )


def test_columns_may_have_other_names_and_semicolons(tmp_path: Path) -> None:
    frame = listed(tmp_path / "p").rename(columns={"image": "File_Name", "label": "Class"})
    path = tmp_path / "p" / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + frame.to_csv(index=False, sep=";").encode())
    table = registry.read_dataset(str(path))
    assert table.classnames == ("cat", "dog", "owl")


def test_numbered_labels_may_have_names(tmp_path: Path) -> None:
    frame = listed(tmp_path / "p")
    frame["classname"] = frame["label"]
    frame["label"] = frame["label"].map({"owl": 0, "dog": 1, "cat": 2})
    table = registry.read_dataset(str(write(frame, tmp_path / "p" / "t.csv")))
    assert table.classnames == ("owl", "dog", "cat")
    bare = write(frame.drop(columns="classname"), tmp_path / "p" / "u.csv")
    assert registry.read_dataset(str(bare)).classnames == ("0", "1", "2")


def test_words_that_look_like_something_else_stay_words(tmp_path: Path) -> None:
    frame = listed(tmp_path / "p")
    frame["label"] = frame["label"].map({"cat": "true", "dog": "false", "owl": "2020-01-01"})
    table = registry.read_dataset(str(write(frame, tmp_path / "p" / "t.csv")))
    assert table.classnames == ("2020-01-01", "false", "true")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=2, max_size=6), st.integers(0, 99))
def test_the_held_out_share_does_not_depend_on_the_order(sizes: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rng = random.Random(seed)
    shas = [f"{rng.randrange(16**8):08x}" for _ in labels]
    names = [f"class {i}" for i in range(len(sizes))]
    split = own_data.hold_out(labels, shas, names, "t")
    order = rng.sample(range(len(labels)), len(labels))
    mixed = own_data.hold_out(labels[order], [shas[i] for i in order], names, "t")
    assert mixed.tolist() == split[order].tolist()
    for label, size in enumerate(sizes):
        tested = int((split[labels == label] == "test").sum())
        assert tested == max(1, round(0.3 * size))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=20))
def test_copies_are_never_held_out_from_each_other(keys: list[int]) -> None:
    shas = [f"{key:04d}" for key in keys]
    split = own_data.hold_out(np.zeros(len(keys), int), shas, ["a"], "t")
    assert set(split) == {"train", "test"}
    if len(set(keys)) > 1:
        train, test = ({s for s, p in zip(shas, split, strict=True) if p == q} for q in set(split))
        assert not train & test


def test_two_commands_lead_from_a_folder_to_a_leaderboard(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[4] / "docs" / "own-data.md").read_text()
    suite, board = (
        line.split()[1:]
        for line in page.partition("to a leaderboard:")[2].splitlines()[:5]
        if line.startswith("ringbench ")
    )
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "my-photos", images=14)
    assert main.call([*suite, "train.epochs=1", "-q"]) == 0
    capsys.readouterr()
    assert main.call([*board, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {r["method"] for r in rows} == {"adaring", "lora", "linear_probe", "zero_shot"}
    assert all(r["acc/test_n"] == 3 for r in rows)


def test_data_that_was_changed_is_run_again(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = class_folders(tmp_path / "p")
    words = ["run", "few_shot", "method=zero_shot", f"data={root}", "shots=1", "data.val_shots=1"]
    assert main.call(words) == 0
    capsys.readouterr()
    assert main.call(words) == 0
    assert "[already recorded]" in capsys.readouterr().err
    before = config.build(words[1], words[2:])
    (root / "cat" / "new.png").write_bytes(encoded(77))
    registry._read.cache_clear()
    assert main.call(words) == 0
    assert "[already recorded]" not in capsys.readouterr().err
    after = config.build(words[1], words[2:])
    assert after.digest() != before.digest()
    assert after.configuration() == before.configuration()
    with pytest.raises(UsageError, match=r"leave data\.content out to use it as it is"):
        split.check_data(before)
