"""A reader finds the old content or the new one, never a part of it."""

from pathlib import Path

import pytest

from harness.spec.atomic_files import atomic_path, publish, write_text


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.json"
    write_text(target, "old")
    write_text(target, "né")
    assert target.read_text(encoding="utf-8") == "né"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_appears_with_all_its_files(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with atomic_path(target) as draft:
        draft.mkdir()
        (draft / "a").write_text("1")
        assert not target.exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "a"]


def interrupted_write(target: Path, as_folder: bool) -> None:
    with atomic_path(target) as draft:
        if as_folder:
            draft.mkdir()
        (draft / "a" if as_folder else draft).write_text("half")
        raise KeyError


@pytest.mark.parametrize("as_folder", [False, True])
def test_an_error_leaves_what_was_there(as_folder: bool, tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with pytest.raises(KeyError):
        interrupted_write(tmp_path / ("folder" if as_folder else "file"), as_folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    draft = tmp_path / ".draft"
    draft.mkdir()
    (draft / "half").touch()
    with atomic_path(tmp_path / "run", draft) as path:
        path.mkdir()
    assert [path.name for path in tmp_path.rglob("*")] == ["run"]


def test_a_folder_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "run" / "a", "old")
    (tmp_path / "draft").mkdir()
    with pytest.raises(OSError, match="not empty"):
        publish(tmp_path / "draft", tmp_path / "run")
    assert (tmp_path / "run" / "a").read_text() == "old"
