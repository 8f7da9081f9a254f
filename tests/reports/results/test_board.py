"""Reports on a ledger whose truth is known."""

import csv
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.cli import main
from harness.spec.protocols import harmonic_mean
from harness.tracking.ledger import open_ledger
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.figures import pareto
from reports.provenance import manifest, rebuild
from reports.results import board
from reports.results import board as board_module
from reports.statistics import dominance
from reports.statistics.intervals import t_interval
from reports.tables import columns, leaderboard


def planted(
    method: str,
    dataset: str,
    seed: int,
    base: float,
    novel: float,
    trainable: float = 1000,
    status: str = "finished",
    **other: str,
) -> Run:
    """A run of the ledger with known numbers."""
    digest = f"{method}-{dataset}-{seed}-{other.get('rank', '')}"
    started = float(other.pop("started", "0"))
    metrics = {
        "acc/base": base,
        "acc/novel": novel,
        "acc/hmean": harmonic_mean(base, novel),
        "params/trainable": trainable,
        "params/stored": trainable,
        "params/inference": 0.0,
        "bytes/adapter": 4 * trainable,
    }
    tags = {
        "protocol": "base_to_novel", "backbone": "embedded", "method": method,
        "configuration": method + other.get("rank", ""), "dataset": dataset, "shots": "4",
        "seed": str(seed), "digest": digest, "data_hash": "d", "template_hash": "t",
        "transform_hash": "f", "names_hash": "n", "subset_hash": str(seed),
    }  # fmt: skip
    params = {"method.name": method, "method.rank": other.get("rank", "2")}
    done = status == "finished"
    tags |= {k: v for k, v in other.items() if k in tags}
    run_id = f"{digest}-{started}"
    return Run(run_id, status, params, metrics if done else {}, tags, started)


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV with its numbers read to the last digit."""
    with path.open(newline="") as file:
        table = pd.DataFrame(list(csv.DictReader(file)))
    for name in table.columns:
        if name.endswith(("_mean", "_low", "_high")) or name == "params/trainable":
            table[name] = [float(v) if v else math.nan for v in table[name]]
    return table


GRID = [
    planted("a", "x", 1, 60, 50), planted("a", "x", 2, 64, 52), planted("a", "y", 1, 80, 70),
    planted("a", "y", 2, 84, 74), planted("b", "x", 1, 70, 40, 10),
    planted("b", "x", 2, 70, 40, 10), planted("b", "y", 1, 90, 60, 10),
    planted("b", "y", 2, 90, 60, 10),
]  # fmt: skip


def test_the_average_is_taken_seed_by_seed_and_its_h_from_the_averages() -> None:
    (board,) = board_module.boards(GRID)
    row = board.ranked().set_index("method").loc["a"]
    by_seed = [harmonic_mean(70, 60), harmonic_mean(74, 63)]
    expected = t_interval(by_seed)
    assert row["acc/hmean_mean"] == pytest.approx(expected.mean)
    assert row["acc/hmean_low"] == pytest.approx(expected.low)
    assert row["acc/hmean_n"] == 2
    assert row["acc/base_mean"] == pytest.approx(72)


def test_the_best_comes_first_and_its_data_sets_stand_together() -> None:
    (board,) = board_module.boards(GRID)
    shown = list(zip(board.rows["method"], board.rows["dataset"], strict=True))
    assert shown == [(m, d) for m in ("a", "b") for d in ("x", "y", "average")]


def test_failed_and_missing_cells_are_counted_and_kept_out_of_averages() -> None:
    runs = [*GRID[:-1], planted("b", "y", 2, 0, 0, status="failed"), planted("c", "x", 1, 50, 50)]
    (board,) = board_module.boards(runs)
    rows = board.rows.set_index(["method", "dataset"])
    assert rows.loc[("b", "y"), "failed"] == 1
    assert rows.loc[("b", "y"), "acc/base_n"] == 1
    assert rows.loc[("b", "average"), "acc/hmean_n"] == 1  # seed 1 alone is complete
    assert rows.loc[("c", "y"), "missing"] == 2
    assert rows.loc[("c", "x"), "missing"] == 1
    assert math.isnan(rows.loc[("c", "average"), "acc/hmean_mean"])
    assert rows.loc[("c", "average"), "missing"] == 3
    text = leaderboard.board_markdown(board)
    assert "| **-** |" in text


def test_runs_on_other_data_are_left_out_and_said_so() -> None:
    old = planted("a", "x", 3, 1, 1, data_hash="other", started="-5")
    (board,) = board_module.boards([*GRID, old])
    assert board.rows.set_index(["method", "dataset"]).loc[("a", "x"), "acc/base_n"] == 2
    assert "x: 1 older runs left out" in board.notes[0]


def test_a_repeated_run_counts_once_and_the_newest_wins() -> None:
    again = planted("a", "x", 1, 62, 50, started="9")
    (board,) = board_module.boards([*GRID, again])
    row = board.rows.set_index(["method", "dataset"]).loc[("a", "x")]
    assert row["acc/base_n"] == 2
    assert row["acc/base_mean"] == pytest.approx(63)


def test_settings_that_differ_are_shown_and_their_rows_apart() -> None:
    runs = [planted("a", "x", s, 60 + s, 50, rank=r) for s in (1, 2) for r in ("2", "8")]
    (board,) = board_module.boards(runs)
    assert sorted(board.rows["settings"]) == ["rank=2", "rank=8"]
    assert board.datasets == ("x",)


def test_a_single_seed_has_no_interval() -> None:
    (board,) = board_module.boards([planted("a", "x", 1, 60, 50)])
    assert columns.mean_and_half(board.rows.iloc[0], "acc/base") == ("60.00", "")


@given(st.lists(st.floats(0, 100), min_size=2, max_size=20))
def test_the_interval_is_scipys(values: list[float]) -> None:
    found = t_interval(values)
    assert found.mean == pytest.approx(np.mean(values))
    if np.std(values) > 1e-6:
        error = scipy_stats.sem(values)
        low, high = scipy_stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
        assert (found.low, found.high) == pytest.approx((low, high))


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(50, 3, size=(4000, 3))
    found = [t_interval(list(s)) for s in samples]
    covered = np.mean([f.low <= 50 <= f.high for f in found])
    assert 0.94 < covered < 0.96


def dominated(p: tuple[float, float], others: list[tuple[float, float]]) -> bool:
    """The definition: another costs no more and gives no less, and is better in one of them."""
    return any(o[0] <= p[0] and o[1] >= p[1] and o != p for o in others)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_the_front_is_what_its_definition_says(pairs: list[tuple[float, float]]) -> None:
    expected = {i for i, p in enumerate(pairs) if not dominated(p, pairs)}
    assert dominance.front_of_pairs(pairs) == expected


def test_the_picture_and_the_tables_are_the_same_bytes_for_the_same_rows(tmp_path: Path) -> None:
    for name in ("one", "two"):
        boards = board.boards(GRID)
        manifest.write_manifest(rebuild.leaderboard_tables(boards, best=False), tmp_path / name)
        pareto.write_pareto(boards[0], tmp_path / name, "params/trainable", "acc/hmean")
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert files == [
        "leaderboard.csv", "leaderboard.html", "leaderboard.manifest.json", "leaderboard.md",
        "leaderboard.tex", "pareto-families.csv", "pareto.csv", "pareto.pdf", "pareto.png",
        "pareto.svg",
    ]  # fmt: skip
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_what_costs_nothing_is_drawn_too(tmp_path: Path) -> None:
    free = [planted("zero_shot", d, s, 50, 50, 0) for d in ("x", "y") for s in (1, 2)]
    (board,) = board_module.boards([*GRID, *free])
    pareto.write_pareto(board, tmp_path, "params/trainable", "acc/hmean")
    points = read_csv(tmp_path / "pareto.csv").set_index("method")
    assert points.loc["zero_shot", "params/trainable"] == 0
    assert points["front"].to_dict() == {"zero_shot": "True", "b": "True", "a": "True"}
    svg = (tmp_path / "pareto.svg").read_text()
    assert "<svg" in svg
    assert "zero_shot" in svg or "<use" in svg


def test_an_empty_ledger_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="nothing is recorded yet; run `ringbench suite`"):
        board.boards([])


def test_table_picture_and_ledger_agree_to_the_last_digit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["methods=zero_shot,linear_probe", "data=digits,flags", "seeds=1,2", "data.shots=1"]
    assert main.call(["suite", "base_to_novel", *words, "train.epochs=2", "-q"]) == 0
    assert main.call(["leaderboard", "--out", str(tmp_path)]) == 0
    assert main.call(["pareto", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    runs = pd.DataFrame(
        [
            {"method": r.tags["method"], "dataset": r.tags["dataset"], "seed": r.tags["seed"]}
            | r.metrics
            for r in open_ledger().runs()
        ]
    )
    board = read_csv(tmp_path / "leaderboard.csv")
    for metric in ("acc/base", "acc/novel", "acc/hmean", "params/trainable", "time/step_ms"):
        means = runs.groupby(["method", "dataset"])[metric].mean()
        shown = board.set_index(["method", "dataset"])[f"{metric}_mean"]
        for key, value in means.items():
            assert shown[key] == value
    by_seed = runs.groupby(["method", "seed"])[["acc/base", "acc/novel"]].mean()
    h = [
        harmonic_mean(b, n) for b, n in zip(by_seed["acc/base"], by_seed["acc/novel"], strict=True)
    ]
    expected = pd.Series(h, by_seed.index).groupby("method").mean()
    points = read_csv(tmp_path / "pareto.csv").set_index("method")
    average = board[board["dataset"] == "average"].set_index("method")
    for method, value in expected.items():
        assert points.loc[method, "acc/hmean_mean"] == average.loc[method, "acc/hmean_mean"]
        assert points.loc[method, "acc/hmean_mean"] == pytest.approx(value, abs=1e-12)
    text = (tmp_path / "leaderboard.md").read_text()
    for _, row in average.iterrows():
        assert f"{row['acc/base_mean']:.2f}" in text
    assert text.startswith("# Leaderboard\n")
