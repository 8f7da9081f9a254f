"""Fronts, chances, dominated shares and budgets on a ledger whose truth is known."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.cli import main
from harness.spec.paths import home_folder
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.analyses import budget, dominated_share, pareto, rank_curves
from reports.cli import output
from reports.results.board import Board, boards
from reports.statistics import dominance, multiplier_bootstrap
from tests.reports import known_runs

COST, QUALITY, TIME = "params/trainable", "acc/test", "time/train_seconds"
SEEDS = (1, 2, 3)


def made(
    sizes: dict[str, float],
    truth: dict[str, float],
    data: tuple[str, ...] = ("x",),
    noise: float = 1.0,
    seeds: tuple[int, ...] = SEEDS,
    rng: int = 0,
    **settings: Any,
) -> list[Run]:
    """A method for each size, with its accuracy on every data set and its own normal noise."""
    draw = np.random.default_rng(rng)
    return [
        run
        for name, size in sizes.items()
        for run in known_runs.grid(
            name.split()[0], dict.fromkeys(data, truth[name]), seeds,
            lambda d, s: noise * draw.standard_normal(),
            metrics={COST: size, TIME: size / 100, "acc/val": truth[name]},
            settings=dict(w.split("=") for w in name.split()[1:]),
        )
    ]  # fmt: skip


def board(runs: list[Run]) -> Board:
    (found,) = boards(runs)
    return found


# --- dominance against its definition -------------------------------------------------------


def points_of(found: Board) -> dict[str, pareto.ParetoPoint]:
    """The points by method."""
    axes = pareto.find_axes(found, COST, QUALITY)
    return {p.method: p for p in pareto.pareto_points(found, axes)}


@settings(deadline=None)
@given(st.integers(2, 3), st.integers(1, 12), st.integers(0, 10_000))
def test_the_front_is_what_its_definition_says(columns: int, count: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 5, (4, count, columns)).astype(float)
    for one, found in zip(values, dominance.on_front(values), strict=True):
        beaten = [any((q <= p).all() and (q < p).any() for q in one) for p in one]
        assert found.tolist() == [not b for b in beaten]


@settings(deadline=None)
@given(st.integers(2, 3), st.integers(1, 6), st.integers(0, 10_000))
def test_the_volume_is_the_number_of_cells_that_are_dominated(
    columns: int, count: int, seed: int
) -> None:
    """On whole numbers the volume can be counted, cell by cell."""
    points = np.random.default_rng(seed).integers(0, 8, (count, columns))
    reference = np.full(columns, 6)
    cells = np.stack(np.meshgrid(*[np.arange(6)] * columns, indexing="ij"), -1).reshape(-1, columns)
    counted = sum(any((p <= cell).all() for p in points) for cell in cells)
    assert dominance.hypervolume(points.astype(float), reference.astype(float)) == counted


def test_the_share_of_one_point_is_its_rectangle() -> None:
    """One point at (99, 80) beside (9999, 60): log10(1 + cost) is 2 and 4, the reference a tenth
    of the range worse than the worst: 4.2 and 58."""
    found = board(made({"a": 99.0, "b": 9999.0}, {"a": 80, "b": 60}, noise=0))
    asked = pareto.find_axes(found, COST, QUALITY)
    a, b = dominated_share.dominated_shares(
        found, pareto.pareto_points(found, pareto.find_axes(found, COST, QUALITY)), asked
    )
    assert (a.method, b.method) == ("a", "b")
    assert a.share == pytest.approx(1.0)
    assert b.share == pytest.approx((4.2 - 4) * (60 - 58) / ((4.2 - 2) * (80 - 58)))
    assert a.reference == pytest.approx((10**4.2 - 1, 58))
    assert a.ideal == pytest.approx((99, 80))


# --- chances --------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", [-1.0, 0.0, 0.4, 2.0])
def test_of_two_at_one_cost_the_chance_is_that_of_the_paired_t_test(gap: float) -> None:
    runs = made({"a": 10, "b": 10}, {"a": 60 + gap, "b": 60}, seeds=(1, 2, 3, 4))
    a, b = (np.array([r.metrics[QUALITY] for r in runs if r.tags["method"] == m]) for m in "ab")
    p = stats.ttest_rel(a, b, alternative="less").pvalue  # of a being behind, if it is not
    found = {
        p.method: p.chance
        for p in pareto.pareto_points(board(runs), pareto.find_axes(board(runs), COST, QUALITY))
    }
    assert found["a"] == pytest.approx(p, abs=0.025)
    assert found["a"] + found["b"] == pytest.approx(1)


def test_a_dearer_point_is_on_the_front_as_often_as_it_is_better() -> None:
    runs = made({"a": 10, "b": 1000}, {"a": 60, "b": 60.5}, seeds=(1, 2, 3, 4, 5))
    a, b = (np.array([r.metrics[QUALITY] for r in runs if r.tags["method"] == m]) for m in "ab")
    found = {
        p.method: p
        for p in pareto.pareto_points(board(runs), pareto.find_axes(board(runs), COST, QUALITY))
    }
    assert found["a"].chance == 1.0
    expected = stats.ttest_rel(b, a, alternative="less").pvalue
    assert found["b"].chance == pytest.approx(expected, abs=0.025)


def test_chances_of_equals_are_spread_evenly() -> None:
    """Where nothing is between two methods, every chance is as likely as any other."""
    cells = board(made({"a": 10, "b": 10}, {"a": 60, "b": 60})).cells
    rng, found = np.random.default_rng(0), []
    for _ in range(300):
        cells = cells.assign(**{QUALITY: 60 + rng.standard_normal(len(cells))})
        moves = multiplier_bootstrap.draw_means(cells, ["a", "b"], [COST, QUALITY]).seeds[..., 1]
        means = cells.groupby("method")[QUALITY].mean().to_numpy()
        found.append(float((means[0] + moves[:, 0] > means[1] + moves[:, 1]).mean()))
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_draws_have_the_spread_of_a_mean_over_seeds_and_data_sets() -> None:
    """With many seeds: the standard error of an average over two data sets."""
    runs = made({"a": 10}, {"a": 60}, data=("x", "y"), seeds=tuple(range(40)))
    cells = board(runs).cells
    found = multiplier_bootstrap.draw_means(cells, ["a"], [COST, QUALITY])
    own = cells.groupby("dataset")[QUALITY].var(ddof=1) / 40
    assert found.seeds[:, 0, 1].std() == pytest.approx(math.sqrt(own.sum()) / 2, rel=0.05)
    assert found.seeds[:, 0, 0].std() == 0  # sizes do not move
    assert found.datasets is not None


def test_h_moves_as_the_harmonic_mean_of_averages() -> None:
    """By the delta method, for small noise: dH = (dB (H/B)^2 + dN (H/N)^2) / 2."""
    rng = np.random.default_rng(3)
    runs = [
        known_runs.run("a", d, s, {"acc/base": 80 + 0.1 * rng.standard_normal(),
                                "acc/novel": 40 + 0.1 * rng.standard_normal()},
                    protocol="base_to_novel")
        for d in ("x", "y") for s in range(30)
    ]  # fmt: skip
    cells = board(runs).cells
    found = multiplier_bootstrap.draw_means(cells, ["a"], [COST, "acc/hmean"]).seeds[:, 0, 1]
    h = 2 * 80 * 40 / 120
    slopes = np.array([(h / 80) ** 2, (h / 40) ** 2]) / 2
    errors = cells.groupby("dataset")[["acc/base", "acc/novel"]].agg(
        lambda v: v.var(ddof=1) / len(v)
    )
    covariance = (
        sum(
            np.cov(part[["acc/base", "acc/novel"]].to_numpy().T) / len(part)
            for _, part in cells.groupby("dataset")
        )
        / 4
    )
    assert len(errors) == 2
    assert found.std() == pytest.approx(math.sqrt(slopes @ covariance @ slopes), rel=0.05)


def test_a_single_seed_has_no_chance_and_no_interval() -> None:
    found = board(made({"a": 10, "b": 100}, {"a": 60, "b": 70}, seeds=(1,)))
    points = pareto.pareto_points(found, pareto.find_axes(found, COST, QUALITY))
    assert all(math.isnan(p.chance) for p in points)
    assert all(p.front for p in points)
    measured = dominated_share.dominated_shares(
        found, points, pareto.find_axes(found, COST, QUALITY)
    )
    assert all(math.isnan(f.low) for f in measured)


@pytest.mark.parametrize("truth", [(70, 70, 70, 70), (60, 65, 68, 70)], ids=["flat", "steep"])
def test_intervals_of_dominated_shares_cover_as_often_as_they_say(truth: tuple[int, ...]) -> None:
    """Against the share of the true means, measured by the same reference and box."""
    sizes = {f"a rank={i}": 10.0 ** (i + 1) for i in range(4)} | {"z": 10.0}
    means = dict(zip(sizes, (*truth, 50), strict=True))
    first = board(made(sizes, means, data=("x", "y"), noise=0))
    points = pareto.pareto_points(
        first, pareto.find_axes(first, COST, QUALITY), probabilities=False
    )
    exact = first.cells[QUALITY].to_numpy()
    asked = pareto.find_axes(first, COST, QUALITY)
    rng, covered = np.random.default_rng(1), []
    for _ in range(300):
        cells = first.cells.assign(**{QUALITY: exact + 1.5 * rng.standard_normal(len(exact))})
        drawn = cells.groupby("group")[QUALITY].mean()
        seen = [replace(p, mean=float(drawn[p.group])) for p in points]
        family = dominated_share.dominated_shares(replace(first, cells=cells), seen, asked)[0]
        best = np.array([math.log10(1 + family.ideal[0]), -family.ideal[1]])
        reference = np.array([math.log10(1 + family.reference[0]), -family.reference[1]])
        true = np.array([[math.log10(1 + sizes[f"a rank={r}"]), -truth[r]] for r in range(4)])
        share = float(dominance.hypervolume(true, reference)) / float(np.prod(reference - best))
        covered.append(family.low <= share <= family.high)
    assert 0.92 < np.mean(covered) <= 0.99


# --- three quantities, budgets, curves ------------------------------------------------------


def test_a_point_that_two_quantities_beat_may_stand_by_a_third() -> None:
    runs = made({"a": 10, "b": 100}, {"a": 70, "b": 60}, noise=0)
    for run in runs:
        run.metrics[TIME] = 9.0 if run.tags["method"] == "a" else 1.0
    found = board(runs)
    assert {
        p.method: p.front
        for p in pareto.pareto_points(found, pareto.find_axes(found, COST, QUALITY))
    } == ({"a": True, "b": False})
    three = pareto.pareto_points(found, pareto.find_axes(found, COST, QUALITY, TIME))
    assert {p.method: (p.front, p.third) for p in three} == {"a": (True, 9.0), "b": (True, 1.0)}


SIZES = {"a rank=1": 10, "a rank=2": 100, "b": 50, "c": 9000}
TRUTH = {"a rank=1": 60, "a rank=2": 70, "b": 65, "c": 90}


def test_within_a_budget_the_best_is_the_best_that_fits() -> None:
    found = board(made(SIZES, TRUTH, noise=0.01))
    points, asked = (
        pareto.pareto_points(found, pareto.find_axes(found, COST, QUALITY)),
        pareto.find_axes(found, COST, QUALITY),
    )
    read = budget.best_within_budget(found, points, asked, budget.parse_budget("60"))
    assert [(p.label, c) for p, c in read.best] == [("b", 1.0), ("a rank=1", 0.0)]
    read = budget.best_within_budget(found, points, asked, budget.parse_budget("5k"))
    assert read.best[0][0].label == "a rank=2"
    said = budget.budget_sentence(read, asked)
    assert said.startswith(
        "with at most 5,000 trainable parameters the best is a (rank=2): accuracy"
    )
    assert "probability of being the best 100%" in said
    with pytest.raises(UsageError, match="nothing is at most that; the nearest is 10"):
        budget.best_within_budget(found, points, asked, 5)


def test_validation_chooses_a_methods_configuration_never_the_test() -> None:
    runs = made({"a rank=1": 10, "a rank=2": 10}, {"a rank=1": 60, "a rank=2": 70}, noise=0)
    for run in runs:  # validation says the opposite of the test
        run.metrics["acc/val"] = 130 - run.metrics[QUALITY]
    more = made({"a rank=4": 100}, {"a rank=4": 80}, noise=0)
    found = board([*runs, *more])
    points, asked = (
        pareto.pareto_points(found, pareto.find_axes(found, COST, QUALITY)),
        pareto.find_axes(found, COST, QUALITY),
    )
    assert budget.best_within_budget(found, points, asked, 10).best[0][0].settings == "rank=1"
    (curve,) = rank_curves.board_curves(found, asked).curves
    assert [(p.settings, n) for p, n in zip(curve.points, curve.tried, strict=True)] == (
        [("rank=1", 2), ("rank=4", 1)]
    )
    assert (curve.key, curve.values) == ("rank", ("1", "4"))


@pytest.mark.parametrize(
    ("word", "value"), [("50k", 50e3), ("1.5M", 1.5e6), ("50_000", 5e4), ("12", 12), (".5g", 5e8)]
)
def test_budgets_are_read(word: str, value: float) -> None:
    assert budget.parse_budget(word) == value


# --- the command ----------------------------------------------------------------------------


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Board:
    """A ledger of planted rows behind the command."""
    found = board(made(SIZES, TRUTH, data=("x", "y")))
    monkeypatch.setattr(output, "single_board", lambda *_: found)
    return found


def test_the_command_says_and_writes_all_of_it(
    ledger: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pareto", "--third", TIME, "--at", "60", "--per-data", "--out", str(tmp_path)]
    assert main.call([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {p["dataset"] for p in said["points"]} == {"x", "y"}
    assert {f["dataset"] for f in said["families"]} == {"x", "y"}
    assert said["at"][0]["methods"][0]["method"] == "b"
    assert main.call(words) == 0
    shown = capsys.readouterr()
    assert "the best is b: accuracy" in shown.out
    assert "share of the plane that each method dominates" in shown.out
    files = {p.name for p in tmp_path.iterdir()}
    kinds = ("png", "svg", "pdf", "csv", "manifest.json")
    assert files == {"pareto-families.csv", *(f"pareto.{kind}" for kind in kinds)}
    assert (tmp_path / "pareto.pdf").read_bytes().startswith(b"%PDF")
    assert main.call(["pareto", "--curves", "--out", str(tmp_path)]) == 0
    table_ = (tmp_path / "pareto-curves.csv").read_text()
    assert "a,rank=1,10.0" in table_


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cost", "params/trainabel"], "did you mean 'params/trainable'?"),
        (["--third", "flops/step"], "flops/step: no run of few_shot on embedded recorded it"),
        (["--third", "params/trainable"], "name different ones"),
        (["--at", "lots"], "--at 'lots': expected a number, such as 50k"),
        (["--curves", "--per-data"], "--per-data: goes with the front of what is recorded"),
        (["--sweep", "mine", "--at", "5k"], "--at: goes with the front of what is recorded"),
        (["--sweep", "mine", "--protocol", "few_shot"], "leave those options out"),
        (["--cloud", "mine"], "sweep 'mine': unknown"),
    ],
)
def test_wrong_input_is_told_in_one_line(
    words: list[str], message: str, ledger: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(["pareto", *words]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_trials_of_a_sweep_are_a_curve_and_a_cloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = ["data=digits", "data.shots=1", "data.val_shots=2", "train.epochs=1", "-q"]
    sweep = ["sweep", "lora_rank", "seeds=1,2", "--sampler", "grid", "--pruner", "none"]
    assert main.call([*sweep, "--trials", "4", "--name", "mine", *fast]) == 0
    suite = ["suite", "base_to_novel", "methods=lora", "lora.rank=1,2", "seeds=1,2"]
    assert main.call([*suite, *fast]) == 0
    out = ["--out", str(tmp_path)]
    capsys.readouterr()
    assert main.call(["pareto", "--curves", "--sweep", "mine", "--json", *out]) == 0
    points = json.loads(capsys.readouterr().out)
    trials = pd.read_csv(home_folder() / "sweeps" / "mine" / "trials.csv")
    best = trials.groupby(COST)["acc/val_hmean"].max()
    assert {p["cost"]: p["mean"] for p in points} == pytest.approx(best.to_dict())
    assert all(p["n"] == 2 for p in points)
    assert main.call(["verify", str(tmp_path / "pareto-curves.csv")]) == 0
    assert main.call(["pareto", "--cloud", "mine", "--quality", "acc/val_hmean", *out]) == 0
    assert main.call(["verify", str(tmp_path / "pareto.manifest.json")]) == 0
    assert main.call(["pareto", "--curves", *out]) == 0
    assert main.call(["verify", str(tmp_path / "pareto-curves.manifest.json")]) == 0
    capsys.readouterr()
    assert main.call(["pareto", "--cloud", "mine", *out]) == 2
    assert "not acc/hmean; for example --quality acc/val_hmean" in capsys.readouterr().err
