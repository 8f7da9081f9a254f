"""The tasks: who draws what is trained on draws nothing that is tested."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.data.readers import table_file
from harness.embedded.build import drawn, tasks
from harness.embedded.build.icons import Iconify
from methods.kit.core.errors import UsageError

DRAWN = ["icon-concepts", "emoji-things", "flags"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of sets cannot give a concept sixteen drawings."""
    monkeypatch.setattr(drawn, "FEWEST_CONCEPT", {"train": 1, "test": 1})


def test_tasks_are_drawn_by_other_vendors_than_they_are_tested_on(
    package: Path, tmp_path: Path, few: None
) -> None:
    table = tasks.build_tasks(Iconify(package), tmp_path / "out", DRAWN)
    assert table["icon-concepts"]["classnames"] == ["bell", "heart", "house", "star"]
    assert table["emoji-things"]["classnames"] == ["droplet", "egg", "key"]
    assert table["flags"]["classnames"] == ["France", "Japan"]
    for name, about in table.items():
        assert not set(about["domains"]["train"]) & set(about["domains"]["test"])
        read = table_file.read(tmp_path / "out" / about["file"], name, about["template"])
        assert list(read.classnames) == about["classnames"]
        assert len(read.rows("train")) == about["train"]
        assert len(set(read.images)) == len(read.images)
    assert table["emoji-things"]["train_per_class"] == [3, 3]
    assert json.loads((tmp_path / "out" / "tasks.json").read_text()) == table


def test_the_same_package_gives_the_same_pictures(package: Path, tmp_path: Path, few: None) -> None:
    for out in ("one", "two"):
        tasks.build_tasks(Iconify(package), tmp_path / out, ["icon-concepts"])
    first, second = (
        pq.read_table(tmp_path / out / "icon-concepts.parquet") for out in ("one", "two")
    )
    assert first.equals(second)


def test_the_notice_says_who_drew_what(package: Path, tmp_path: Path, few: None) -> None:
    table = tasks.build_tasks(Iconify(package), tmp_path, DRAWN)
    text = (tmp_path / "NOTICE.md").read_text()
    used = {
        d.removesuffix("-4x3") for t in table.values() for s in t["domains"].values() for d in s
    }
    for prefix in used:
        assert f"(`{prefix}`)" in text
    assert "emoji-things, flags" in text  # emojione and twemoji draw both


def test_a_task_can_be_made_alone_and_keeps_the_others(
    package: Path, tmp_path: Path, few: None
) -> None:
    tasks.build_tasks(Iconify(package), tmp_path, ["flags"])
    table = tasks.build_tasks(Iconify(package), tmp_path, ["emoji-things", "digits"])
    assert list(table) == ["emoji-things", "flags", "digits"]
    assert table["digits"]["train_per_class"] == [32, 32]


def test_a_set_under_another_licence_is_refused(package: Path, few: None) -> None:
    icons = Iconify(package)
    icons.collections["bi"]["license"]["spdx"] = "GPL-3.0"
    with pytest.raises(UsageError, match="'bi': its licence"):
        drawn.icon_concepts(icons)


def test_a_folder_that_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no collections.json; unpack the npm package"):
        Iconify(tmp_path)
