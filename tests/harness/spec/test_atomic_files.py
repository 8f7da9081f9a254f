"""A reader finds the old content or the new one, never a part of it."""

from pathlib import Path

import pytest

from harness.spec.atomic_files import atomic_path, write_text


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


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_error_leaves_what_was_there(kind: str, tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with pytest.raises(KeyError), atomic_path(tmp_path / kind) as draft:
        if kind == "file":
            draft.write_text("half")
        else:
            draft.mkdir()
            (draft / "a").write_text("half")
        raise KeyError
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
    with pytest.raises(OSError, match="not empty"), atomic_path(tmp_path / "run") as draft:
        draft.mkdir()
    assert (tmp_path / "run" / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
