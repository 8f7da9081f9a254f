"""A leaderboard whose ranks, choices and flags are known."""

import json
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.cli import main
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.cli import watch
from reports.results.board import Board, boards
from reports.statistics import bootstrap, shared_ranks
from reports.tables import leaderboard, paper_table
from reports.tables.paper_table import build_paper_table
from tests.reports.known_runs import grid, run

FIVE = {"u": 40.0, "v": 50.0, "w": 60.0, "x": 70.0, "y": 80.0}
SIZES = json.dumps({"test": {"classes": 5, "images": 400}})


def jitter(width: float, key: int) -> Any:
    """Noise that is a fixed function of method, data set and seed."""

    def noise(dataset: str, seed: int) -> float:
        return float(np.random.default_rng([key, ord(dataset[0]), seed]).normal(0, width))

    return noise


def shifted(by: float) -> dict[str, float]:
    return {d: a + by for d, a in FIVE.items()}


def column(board: Board, name: str, dataset: str = "average") -> dict[str, Any]:
    rows = board.rows[board.rows["dataset"] == dataset]
    return dict(zip(rows["method"], rows[name], strict=True))


def test_what_cannot_be_told_apart_shares_a_rank_and_what_is_worse_comes_after_all() -> None:
    runs = grid("a", FIVE, (1, 2, 3), jitter(1, 1)) + grid("b", FIVE, (1, 2, 3), jitter(1, 2))
    runs += grid("c", shifted(-9), (1, 2, 3), jitter(1, 3))
    runs += grid("once", shifted(9), (1,), jitter(1, 4))
    (board,) = boards(runs)
    found = column(board, "rank")
    assert (found["a"], found["b"], found["c"]) == (1, 1, 3)
    assert np.isnan(found["once"])
    assert "rank: one more than" in " ".join(leaderboard.board_notes(board))


def test_runs_on_another_draw_have_no_rank() -> None:
    runs = [r for i, m in enumerate("abc") for r in grid(m, FIVE, (1, 2), jitter(1, i))]
    runs += grid("odd", FIVE, (1, 2), jitter(1, 9), subset_hash="other")
    (board,) = boards(runs)
    found = column(board, "rank")
    assert np.isnan(found["odd"])
    assert not np.isnan(found["a"])


def test_all_pairs_at_once_are_the_pairs_one_by_one() -> None:
    rng = np.random.default_rng(0)
    values = [rng.uniform(40, 90, (4, 2, n)) for n in (3, 3, 4)]
    p, ahead = shared_ranks.pairwise_p(values)
    for i in range(4):
        for j in range(i + 1, 4):
            one = bootstrap.over_seeds([x[[i, j]] for x in values])
            assert p[i, j] == pytest.approx(one.p, rel=0.15, abs=0.02)
            flat = bootstrap.score_difference(np.mean([x[[i, j]].mean(2) for x in values], axis=0))
            assert ahead[i, j] == pytest.approx(float(flat))


def tuned() -> list[Run]:
    runs = grid("b", FIVE, (1, 2))
    for rank, val, test in ((2, 60.0, 50.0), (4, 70.0, 40.0), (8, 65.0, 90.0)):
        extra = {"acc/val": val}
        runs += grid("lora", {"x": test}, (1, 2), settings={"rank": rank}, metrics=extra)
    return runs


def test_a_method_is_shown_with_its_best_configuration_by_validation_or_with_all() -> None:
    (board,) = boards(tuned(), best=True)
    lora = board.rows[(board.rows["method"] == "lora") & (board.rows["dataset"] == "x")]
    assert lora["settings"].tolist() == ["rank=4"]
    assert lora["acc/test_mean"].tolist() == [40.0]  # the worst on test: it was not looked at
    assert "lora: best of 3 configurations by validation (rank=4)" in board.notes
    (board,) = boards(tuned())
    assert (board.rows["method"] == "lora").sum() == 3 * 6


def test_without_validation_accuracies_no_configuration_is_chosen() -> None:
    runs = [r for n in (2, 4) for r in grid("a", {"x": 50.0}, (1, 2), settings={"rank": n})]
    (board,) = boards(runs, best=True)
    assert len(board.rows) == 2
    assert "a: all 2 configurations are shown" in board.notes[0]


def test_gains_are_over_zero_shot_on_the_same_data() -> None:
    runs = grid("zero_shot", FIVE, (1, 2)) + grid("a", shifted(3), (1, 2))
    (board,) = boards(runs)
    assert column(board, "gain")["a"] == pytest.approx(3)
    assert column(board, "gain", "u")["a"] == pytest.approx(3)
    assert column(board, "gain")["zero_shot"] == 0


def test_the_noise_of_test_images_is_wilsons_and_that_of_an_average_is_smaller() -> None:
    (board,) = boards(grid("a", {"x": 60.0, "y": 80.0}, (1, 2), test_parts=SIZES))
    halves = []
    for dataset, right in (("x", 240), ("y", 320)):
        bounds = stats.binomtest(right, 400).proportion_ci(method="wilson")
        halves.append(50 * (bounds.high - bounds.low))
        assert column(board, "items", dataset)["a"] == pytest.approx(halves[-1])
    assert column(board, "items")["a"] == pytest.approx(np.hypot(*halves) / 2)


def flags_of(runs: list[Run], method: str = "a", dataset: str = "average") -> str:
    (board,) = boards(runs)
    return str(column(board, "flags", dataset)[method])


def test_a_healthy_row_has_no_flag() -> None:
    runs = grid("zero_shot", FIVE, (1, 2), test_parts=SIZES)
    runs += grid("a", shifted(2), (1, 2), test_parts=SIZES, versions="{}")
    assert flags_of(runs) == ""
    (board,) = boards(runs)
    assert "flags" not in leaderboard.visible_table(board)[0]


def test_every_sickness_is_flagged() -> None:
    zero = grid("zero_shot", FIVE, (1, 2))
    assert flags_of(zero + grid("a", shifted(-1), (1, 2))) == "below zero-shot"
    part = dict(FIVE, u=99.0, v=49.0)
    assert flags_of(zero + grid("a", part, (1, 2))) == "below zero-shot on v"
    assert flags_of(zero + grid("a", FIVE, (1, 2))) == "dead adapter"
    still = grid("a", FIVE, (1, 2), metrics={"params/trainable": 0.0})
    assert flags_of(zero + still) == ""
    assert flags_of(grid("a", FIVE, (1,))) == "single seed"
    mixed = grid("a", FIVE, (1,), versions="1") + grid("a", FIVE, (2,), versions="2")
    assert flags_of(mixed) == "mixed versions"
    mixed = grid("a", FIVE, (1,), git_commit="1") + grid("a", FIVE, (2,), git_commit="2")
    assert flags_of(mixed) == "mixed commits"
    assert flags_of(grid("a", FIVE, (1, 2)) + grid("b", FIVE, (1, 2, 3))) == "empty cells"
    failed = run("a", "u", 3, {}, status="failed")
    assert flags_of([*grid("a", FIVE, (1, 2)), failed], dataset="u") == "empty cells"
    guess = grid("a", {"x": 20.0, "y": 90.0}, (1, 2), test_parts=SIZES)
    assert flags_of(guess) == "chance level"
    assert flags_of(guess, dataset="y") == ""


# --- print -----------------------------------------------------------------------------------


def printed() -> Board:
    runs = grid("a_b", {"dtd": 70.001, "imagenet": 60.0, "aaa": 50.0}, (1, 2))
    runs += grid("b", {"dtd": 70.004, "imagenet": 61.0, "aaa": 40.0}, (1, 2))
    runs += grid("c", {"dtd": 69.0, "imagenet": 59.0, "aaa": 40.0}, (1, 2))
    (board,) = boards(runs)
    return board


def test_data_sets_stand_in_the_fields_order_and_equal_numbers_in_one_place() -> None:
    found = build_paper_table(printed())
    assert found.heads == ["imagenet", "dtd", "aaa", "average accuracy"]
    by_name = dict(zip(found.names, found.cells, strict=True))
    assert [by_name[n][1].place for n in ("a_b", "b", "c")] == [1, 1, 2]
    assert [by_name[n][2].place for n in ("a_b", "b", "c")] == [1, 2, 2]


def test_latex_has_best_bold_second_underlined_and_no_bare_sign() -> None:
    text = paper_table.latex_document([printed()])
    row = next(line for line in text.splitlines() if r"a\_b" in line)
    assert r"\textbf{70.00}" in row
    assert r"\underline{60.00}" in row
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    columns = text.split(r"\begin{tabular}{")[1].split("}")[0]
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 4
    assert {line.count("&") for line in rows} == {len(columns) - 1}
    assert paper_table.latex_escape(r"a\b_c&50%") == r"a\textbackslash{}b\_c\&50\%"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_whole_and_asks_for_nothing() -> None:
    (board,) = boards(grid("<a>", FIVE, (1,)))
    text = paper_table.html_page([board, printed()])
    parser = Tags()
    parser.feed(text)
    assert parser.open == []
    assert parser.seen.isdisjoint({"script", "img", "a"})
    assert "://" not in text
    assert "&lt;a&gt;" in text
    assert "single seed" in text
    assert "<b>70.00</b>" in text


def test_watching_shows_what_changes_and_waits_for_the_first_run() -> None:
    shown = []
    runs: list[list[Run]] = [
        [],
        grid("a", FIVE, (1,)),
        grid("a", FIVE, (1,)),
        grid("a", FIVE, (1, 2)),
    ]

    def collect() -> list[Board]:
        return boards(runs.pop(0))

    watch.watch_boards(collect, lambda found: shown.append(len(found[0].cells)), 0.0, rounds=4)
    assert shown == [5, 10]
    with pytest.raises(UsageError):
        boards([])


def test_watching_as_json_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["leaderboard", "--watch", "--json"]) == 2
    assert "--watch shows a table; leave out --json" in capsys.readouterr().err
