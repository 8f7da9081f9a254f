"""The committed catalogue is current, and used only for the code that it was made from."""

import json
from pathlib import Path
from typing import Any

import pytest

import methods
from harness.run import catalogue


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A catalogue that a test may change."""
    copy: dict[str, Any] = json.loads(catalogue.FILE.read_text())
    monkeypatch.setattr(catalogue, "_stored", lambda: copy)
    catalogue._stored_entry.cache_clear()
    return copy


def test_the_catalogue_is_current() -> None:
    assert json.loads(catalogue.FILE.read_text()) == catalogue.build(), (
        "a method, the kit or open_clip has changed: run `python -m harness.run.catalogue`"
    )


def test_a_stored_row_is_used_while_method_and_kit_are_unchanged(stored: dict[str, Any]) -> None:
    place = methods.names().index("lora")
    stored["methods"]["lora"]["row"] = ["stored"]
    stored["methods"]["lora"]["settings"] = ["stored"]
    assert catalogue.method_rows()[place] == ["stored"]
    assert catalogue.method_settings("lora") == ("stored",)


@pytest.mark.parametrize("change", ["no entry", "another file", "another kit"])
def test_a_method_that_changed_is_computed(stored: dict[str, Any], change: str) -> None:
    entry = stored["methods"]["lora"]
    entry["row"] = entry["settings"] = ["stale"]
    if change == "no entry":
        del stored["methods"]["lora"]
    elif change == "another file":
        entry["hash"] = "0"
    else:
        stored["kit"] = "0"
    assert catalogue.method_settings("lora")[:2] == ("rank", "alpha")
    assert catalogue.method_rows()[methods.names().index("lora")][:2] == ["lora", 184_320]


def test_another_open_clip_is_asked(stored: dict[str, Any]) -> None:
    stored["backbones"] = [["stored"]]
    assert catalogue.backbone_rows() == [["stored"]]
    stored["open_clip"] = "0"
    assert catalogue.backbone_rows()[0][0] == "embedded"


def test_the_hash_covers_names_and_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    for name, text in (("a.py", "x"), ("b.py", "x"), ("c.py", "y")):
        (tmp_path / name).write_text(text)
    hashes = {catalogue._method_hash(name) for name in "abc"}
    assert len(hashes) == 3
