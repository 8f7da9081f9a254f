"""Reports of sweeps whose truth is known: planted files, no training."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import main
from reports.analyses import sweep
from reports.analyses.sweep import best_key, best_table, map_keys, map_table, map_values
from reports.provenance import sweep_tables
from reports.results import sweep_results

AIMS = ["acc/val_hmean", "params/trainable"]
RANKS, SLICES = [1, 2, 4], [2, 4, "[4, 8]"]


def planted(home: Path, name: str = "mine", **facts: Any) -> Path:
    """A sweep of nine trials over ring rank and slice size; one more was pruned, one capped."""
    rows = []
    for i, (rank, size) in enumerate((r, s) for r in RANKS for s in SLICES):
        rows.append(
            {"order": i, "number": i, "end": "complete", "why": "", "origin": "grid",
             "seconds": 2.0, "method.ring_rank": rank, "method.slice_size": size,
             AIMS[0]: 50 + 2.5 * i - 0.3 * i * i, AIMS[1]: 1000.0 * rank * (1 + i % 3)}
        )  # fmt: skip
    for i, end in enumerate(("pruned", "capped")):
        rows.insert(4, {**rows[0], "order": 4, "number": 20 + i, "end": end, AIMS[0]: math.nan})
    folder = home / "sweeps" / name
    folder.mkdir(parents=True)
    pd.DataFrame(rows).to_csv(folder / "trials.csv", index=False)
    stored = {
        "kind": "sweep", "name": name, "space": "ring_rank", "method": "adaring",
        "protocol": "base_to_novel", "dims": {"method.ring_rank": "", "method.slice_size": ""},
        "cells": [["digits", 1], ["flags", 1]], "objectives": AIMS,
        "directions": ["maximize", "minimize"],
        "importances": {"method.ring_rank": 0.7, "method.slice_size": 0.3},
        "grid": {"method.ring_rank": RANKS, "method.slice_size": [2, 4, [4, 8]]},
    }  # fmt: skip
    (folder / "sweep.json").write_text(json.dumps(stored | facts))
    return folder


def test_a_sweep_is_drawn_and_the_same_rows_give_the_same_bytes(
    own_home: Path, tmp_path: Path
) -> None:
    planted(own_home)
    for copy in ("one", "two"):
        assert main.call(["report", "--sweep", "mine", "--out", str(tmp_path / copy)]) == 0
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    stems = ("curves", "front", "importances", "map")
    drawn = [f"{s}.{kind}" for s in stems for kind in ("png", "svg", "pdf", "csv")]
    assert files == sorted([*drawn, "sweep.manifest.json"])
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_front_and_its_hypervolume_are_what_they_say(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted(own_home)
    assert main.call(["pareto", "--sweep", "mine", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    table = sweep.front_table(sweep_results.load_sweep("mine"), AIMS[1], AIMS[0])
    pairs = list(zip(table[AIMS[1]], table[AIMS[0]], strict=True))
    beaten = [any(c <= p[0] and q >= p[1] and (c, q) != p for c, q in pairs) for p in pairs]
    assert [r["number"] for r in rows] == sorted(
        table.loc[[not b for b in beaten], "number"], key=lambda n: pairs[n][0]
    )
    assert table["hypervolume"].is_monotonic_increasing
    assert 0 < table["hypervolume"].iloc[-1] <= 1
    assert (own_home / "report" / "mine" / "pareto.svg").exists()


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=2, max_size=12))
def test_the_hypervolume_is_the_share_of_dominated_cells(pairs: list[tuple[int, int]]) -> None:
    """On a lattice whose logarithm of cost is whole, the area can be counted in tenths: the plane
    reaches a tenth of the range, or of one, beyond the worst."""
    costs = [(10.0**c - 1, float(q)) for c, q in pairs]
    left, high = min(c for c, _ in pairs), max(q for _, q in pairs)
    wide, tall = (max(v) - min(v) for v in zip(*pairs, strict=True))
    columns, rows = 10 * wide + (wide or 1), 10 * tall + (tall or 1)
    inside = sum(
        any(10 * (c - left) <= x and 10 * (high - q) <= y for c, q in pairs)
        for x in range(columns) for y in range(rows)
    )  # fmt: skip
    found = sweep.hypervolume(costs, costs)
    assert found == pytest.approx(inside / (columns * rows), abs=1e-6)


def test_the_map_has_the_best_of_each_cell(own_home: Path) -> None:
    planted(own_home)
    sweep = sweep_results.load_sweep("mine")
    keys = map_keys(sweep)
    assert keys == ("method.ring_rank", "method.slice_size")
    cells = map_table(sweep, keys)
    assert len(cells) == 9
    assert cells["count"].sum() == 9
    assert map_values(sweep, "method.slice_size") == [2, 4, "[4, 8]"]


def test_the_curve_counts_what_cost_something(own_home: Path) -> None:
    planted(own_home)
    table = sweep.tuning_curve(sweep_results.load_sweep("mine"), "adaring")
    assert table["trial"].tolist() == list(range(1, 11))  # pruned counts, capped does not
    assert table["seconds"].iloc[-1] == 20.0
    assert table["best"].is_monotonic_increasing
    assert table["best"].iloc[-1] == table[AIMS[0]].max()


def test_a_sweep_of_one_aim_and_one_key_has_a_curve_and_a_front(own_home: Path) -> None:
    planted(own_home, objectives=AIMS[:1], directions=["maximize"], importances={},
            dims={"method.ring_rank": ""})  # fmt: skip
    assert [p.stem for p in sweep_tables.sweep_parts(sweep_results.load_sweep("mine"))] == [
        "front",
        "curves",
    ]


def test_wrong_input_is_told_in_one_line(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = planted(own_home)
    for words, message in (
        (["report", "--sweep", "mien"], "sweep 'mien': unknown, did you mean 'mine'?"),
        (
            ["pareto", "--sweep", "mine", "--cost", "params/storde"],
            "metric 'params/storde': unknown",
        ),
        (["report", "--sweep", "mine", "--map", "ring_rank"], "expected two keys"),
        (["report", "--sweep", "mine", "--map", "ring_rank,lr"], "--map 'lr': unknown"),
        (["report", "--sweep", "mine", "--best", "ring_rnk"], "--best 'ring_rnk': unknown"),
        (["report", "--best", "ring_rank"], "name the sweep"),
    ):
        assert main.call(words) == 2
        shown = capsys.readouterr().err
        assert message in shown
        assert shown.count("\n") == 1
    table = pd.read_csv(folder / "trials.csv")
    table[table["end"] != "complete"].to_csv(folder / "trials.csv", index=False)
    assert main.call(["report", "--sweep", "mine"]) == 2
    assert "no trial is complete yet" in capsys.readouterr().err


def test_everything_recorded_is_reported(
    own_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = ["data=digits", "data.shots=1", "data.val_shots=1", "-q"]
    for preset in ("base_to_novel", "few_shot"):
        assert main.call(["run", preset, "method=zero_shot", *fast]) == 0
    assert main.call(["report", "--out", str(tmp_path / "site"), "--json"]) == 0
    written = [Path(p) for p in json.loads(capsys.readouterr().out)]
    assert all(p.exists() for p in written)
    boards = {p.parent.name for p in written if p.name == "pareto.html"}
    assert boards == {"base_to_novel-embedded", "few_shot-embedded"}


def test_the_best_value_of_a_key_for_each_setting_of_the_others(
    own_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted(own_home)
    words = ["report", "--sweep", "mine", "--out", str(tmp_path), "--best", "slice_size"]
    assert main.call([*words, "--map", "slice_size,method.ring_rank"]) == 0
    assert "mine: best method.slice_size" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "best.csv")
    assert table["method.ring_rank"].tolist() == RANKS
    quality = [50 + 2.5 * i - 0.3 * i * i for i in range(9)]  # by rank, then by slice
    for k, row in table.iterrows():
        three = sorted(quality[3 * int(str(k)) : 3 * int(str(k)) + 3])
        assert row[AIMS[0]] == pytest.approx(three[2])
        assert row["lead"] == pytest.approx(three[2] - three[1])
        assert row["tried"] == 3
    cells = pd.read_csv(tmp_path / "map.csv")
    assert list(cells.columns[:2]) == ["method.slice_size", "method.ring_rank"]


def test_of_rates_that_do_as_well_the_least_is_shown(own_home: Path) -> None:
    folder = planted(own_home, dims={"method.ring_rank": "", "train.lr": ""},
                     grid={"method.ring_rank": RANKS, "train.lr": [3e-4, 1e-3, 3e-3]})  # fmt: skip
    table = pd.read_csv(folder / "trials.csv")
    table["train.lr"] = [[3e-3, 3e-4, 1e-3][i % 3] for i in table["number"]]
    table.loc[table["end"] == "complete", AIMS[0]] = 60.0
    table.to_csv(folder / "trials.csv", index=False)
    sweep = sweep_results.load_sweep("mine")
    key = best_key(sweep, None)
    assert key == "train.lr"
    best = best_table(sweep, key)
    assert best["train.lr"].tolist() == [3e-4] * 3
    assert best["lead"].tolist() == [0.0] * 3
