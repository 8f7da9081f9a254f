"""docs/commands.md is what the commands say of themselves."""

import shutil
from pathlib import Path

import pytest

from harness.cli import reference

PAGE = Path(__file__).parents[3] / "docs" / "commands.md"


def test_the_page_is_current() -> None:
    made = reference.render()
    assert made == PAGE.read_text(), (
        "a command has changed: run `python -m harness.cli.reference > docs/commands.md`"
    )


def test_the_page_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    page = reference.render()
    monkeypatch.setenv("COLUMNS", "40")
    assert shutil.get_terminal_size().columns == 40
    assert reference.render() == page


def test_every_command_has_a_section_and_a_line_in_the_index() -> None:
    page = reference.render()
    for name in ("run", "suite", "sweep", "leaderboard", "data fewshot", "cache ls"):
        assert f"- [`ringbench {name}`](#ringbench-{name.replace(' ', '-')}): " in page
        assert f"# `ringbench {name}`\n" in page
    assert "...\n" not in page.partition("**Usage**")[0]  # no truncated line
