"""The suite of benchmarks itself: its arithmetic on planted times, and its page."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.benchmarks import __main__, measure, registry, report, scaling
from tests.benchmarks.measure import Case, Timing


def sleeper(seconds: float, calls: list[str], name: str) -> measure.Arm:
    def arm() -> None:
        calls.append(name)
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return arm


def test_a_ratio_is_the_peers_time_over_ours_in_each_round() -> None:
    calls: list[str] = []
    arms = {"ours": sleeper(0.03, calls, "ours"), "peer": sleeper(0.09, calls, "peer")}
    checked: list[int] = []
    case = Case("x", arms, lambda: checked.append(1), {"peer": 2.5}, rounds=3, warm=1)
    (found,) = measure.measure("row", case, quick=True)
    assert checked == [1]
    assert found.median == pytest.approx(3, rel=0.15)
    assert found.reached
    assert (calls.count("ours"), calls.count("peer")) == (4, 4)  # one round warms up
    twice = Case("x", arms, lambda: None, {"peer": 2.5}, rounds=3, warm=0, weights={"ours": 2.0})
    (found,) = measure.measure("row", twice, quick=True)
    assert found.median == pytest.approx(1.5, rel=0.15)
    assert found.reached is False


def test_nothing_is_timed_where_results_differ() -> None:
    def differs() -> None:
        torch.testing.assert_close(torch.ones(1), torch.zeros(1))

    calls: list[str] = []
    case = Case("x", {"ours": sleeper(0, calls, "ours")}, differs)
    with pytest.raises(AssertionError):
        list(measure.measure("row", case))
    assert not calls


def test_the_slope_of_a_power_is_that_power() -> None:
    sizes = [1.0, 2.0, 8.0, 64.0]
    assert scaling.slope(sizes, [3 * s**0.7 for s in sizes]) == pytest.approx(0.7)
    line = scaling.words([vars(scaling.Curve("rank", "a step", [1, 10], [1.0, 10.0], [1, 2]))])[0]
    assert "10 times the size, 10.0 times the time and 2.0 times the bytes" in line
    assert "as the size" in line


def test_the_page_says_what_was_measured_and_what_was_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "speed.md"
    monkeypatch.setattr(report, "PAGE", page)
    page.write_text("a\n<!-- measured -->\nold\n<!-- end of measured -->\nb\n")
    timings = [
        Timing("step.x", f"case {i}", "ours", "peer", low, low + 1, 9.0, 5.0, 5.0, 7, "cpu", 1,
               4.0, False, 0.0)
        for i, low in enumerate((5.0, 3.0))
    ]  # fmt: skip
    path = tmp_path / "m.json"
    record = report.write(path, timings=[report.timing(t, "about", {"n": 2}) for t in timings])
    report.page(record)
    text = page.read_text()
    assert text.startswith("a\n<!-- measured -->\nOn ")
    assert text.endswith("<!-- end of measured -->\nb\n")
    assert "| 6.00 (5.00 to 9.00) | at least 4.00: reached |" in text
    assert "| 4.00 (3.00 to 9.00) | at least 4.00: missed |" in text
    report.page(record)
    assert page.read_text() == text
    again = report.write(path, timings=[report.timing(timings[0], "about", {})])
    assert [t["case"] for t in again["timings"]] == ["case 0"]  # the row was measured anew
    assert json.loads(path.read_text()) == again


def test_every_row_is_found_by_its_name_or_its_family() -> None:
    assert [r.name for r in registry.find(["step.text"])] == ["step.text"]
    assert len(registry.find(["step"])) >= 5
    with pytest.raises(SystemExit, match="no row 'stp'"):
        registry.find(["stp"])


def test_a_row_runs_as_a_user_would_run_it(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    assert __main__.main(["optim", "--quick", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert {t["row"] for t in found["timings"]} == {"optim.flat"}
    assert all(math.isfinite(t["median"]) for t in found["timings"])
    assert found["machine"]["processor"]


def test_a_row_whose_results_differ_is_told_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def differs() -> None:
        raise AssertionError("not the same")

    def bad(quick: bool) -> Iterator[Case]:
        yield Case("planted", {"ours": lambda: None, "peer": lambda: None}, differs)

    registry.find([])
    monkeypatch.setitem(registry.ROWS, "optim.bad", registry.Row("optim.bad", "", bad))
    path = tmp_path / "m.json"
    assert __main__.main(["optim", "--quick", "--json", str(path)]) == 1
    found = json.loads(path.read_text())
    assert {t["row"] for t in found["timings"]} == {"optim.flat"}
    told = {"what": "optim.bad, planted", "error": "AssertionError: not the same"}
    assert found["failed"] == [told]
    assert "optim.bad, planted: failed" in capsys.readouterr().out
