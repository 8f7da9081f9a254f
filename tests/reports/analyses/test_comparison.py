"""Comparisons of methods whose difference is known."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as plain_mcnemar

from harness.cli import main
from harness.spec.protocols import harmonic_mean
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.analyses import comparison
from reports.analyses.comparison import Comparison
from reports.results import selection
from reports.results.board import runs_frame
from reports.results.pairing import pair_runs
from reports.statistics import bootstrap, mcnemar
from reports.tables.comparison import comparison_markdown, dataset_rows, pair_rows
from reports.tables.sentence import comparison_sentence
from tests.reports.known_runs import grid, predictions, run

FIVE = {"u": 40.0, "v": 50.0, "w": 60.0, "x": 70.0, "y": 80.0}


def nothing(run_id: str) -> bytes | None:
    return None


def compared(
    runs: list[Run],
    names: list[str],
    baseline: str | None = None,
    metric: str = "acc/test",
    several: selection.Several = "refuse",
) -> list[Comparison]:
    table = runs_frame(runs)
    entrants = selection.select_candidates(table[table["finished"]], names, several)
    base = next((e for e in entrants if e.name == baseline), None)
    return comparison.compare_methods(entrants, base, metric, nothing)


def jitter(width: float, key: int) -> Any:
    """Noise that is a fixed function of method, data set and seed."""

    def noise(dataset: str, seed: int) -> float:
        return float(np.random.default_rng([key, ord(dataset[0]), seed]).normal(0, width))

    return noise


# --- the interval ----------------------------------------------------------------------------


def simulated(rng: np.random.Generator, datasets: int, seeds: int, between: float) -> Any:
    """Differences with a true mean of 0; the methods share the noise of each seed."""
    shared = rng.normal(60, 5, (datasets, 1, seeds))
    own = rng.normal(0, 1, (datasets, 2, seeds))
    own[:, 0] += rng.normal(0, between, (datasets, 1))
    return [x[:, None, :] for x in shared + own]


@pytest.mark.parametrize(("datasets", "seeds"), [(1, 3), (3, 3), (5, 3), (11, 3), (5, 2), (3, 10)])
def test_the_interval_over_seeds_covers_as_often_as_it_says(datasets: int, seeds: int) -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(600):
        found = bootstrap.over_seeds(simulated(rng, datasets, seeds, 0.0), 500)
        hits += found.low <= 0 <= found.high
    assert 0.92 <= hits / 600 <= 0.985


@pytest.mark.parametrize("datasets", [2, 3, 5, 11])
def test_the_interval_over_data_sets_covers_data_sets_that_differ(datasets: int) -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(600):
        found = bootstrap.over_datasets(simulated(rng, datasets, 3, 2.0), 500)
        hits += found.low <= 0 <= found.high
    assert 0.92 <= hits / 600 <= 0.985


def test_one_data_set_over_seeds_is_the_paired_t_test() -> None:
    values = simulated(np.random.default_rng(3), 1, 8, 0.0)
    found = bootstrap.over_seeds(values)
    expected = stats.ttest_rel(values[0][0, 0], values[0][1, 0])
    bounds = expected.confidence_interval()
    assert found.p == pytest.approx(expected.pvalue, rel=0.1)
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high), rel=0.03, abs=0.02)


def test_over_data_sets_is_the_paired_t_test_of_their_means() -> None:
    values = simulated(np.random.default_rng(4), 7, 3, 1.0)
    means = np.array([x.mean(2)[:, 0] for x in values])
    expected = stats.ttest_rel(means[:, 0], means[:, 1])
    found = bootstrap.over_datasets(values)
    assert found.error == pytest.approx(expected.statistic**-1 * found.value, rel=0.03)
    assert found.p == pytest.approx(expected.pvalue, rel=0.15)


def test_the_difference_of_h_is_that_of_the_leaderboards_averages() -> None:
    rng = np.random.default_rng(5)
    values = [rng.uniform(40, 90, (2, 2, 3)) for _ in range(4)]
    mean = np.mean(values, axis=0)  # (method, part, seed)
    by_seed = [[harmonic_mean(*mean[m, :, s]) for s in range(3)] for m in (0, 1)]
    assert bootstrap.mean_difference(values) == pytest.approx(
        np.mean(by_seed[0]) - np.mean(by_seed[1])
    )


def test_what_does_not_vary_has_no_doubt_and_one_seed_no_interval() -> None:
    still = [np.full((2, 1, 3), 50.0) + np.array([2.0, 0.0])[:, None, None] for _ in range(3)]
    assert bootstrap.over_seeds(still)[:4] == (2.0, 2.0, 2.0, 0.0)
    assert math.isnan(bootstrap.over_seeds([x[:, :, :1] for x in still]).low)
    assert math.isnan(bootstrap.over_datasets(still[:1]).low)


# --- the same images -------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_mcnemar_of_one_seed_is_statsmodels(answers: list[tuple[bool, bool]]) -> None:
    a, b = np.array(answers, dtype=float).T
    found = mcnemar.mcnemar_test(a[:, None], b[:, None])
    table = [[0, found.a], [found.b, 0]]
    if found.discordant:
        exact = found.discordant < mcnemar.EXACT_BELOW
        assert found.p == pytest.approx(plain_mcnemar(table, exact=exact).pvalue)


@given(st.lists(st.integers(-3, 3).filter(bool), min_size=1, max_size=10))
def test_sign_flips_are_scipys_exact_permutation_test(change: list[int]) -> None:
    if len(change) == 1:
        assert mcnemar.sign_flips(np.array(change)) == 1.0
        return
    found = stats.permutation_test(
        (np.array(change),), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert mcnemar.sign_flips(np.array(change)) == pytest.approx(found.pvalue)


def test_mcnemar_over_seeds_counts_images_once() -> None:
    rng = np.random.default_rng(6)
    rejected = 0
    for _ in range(500):  # no difference, and every seed gives an image the same answer
        a, b = rng.integers(0, 2, (2, 200, 1)).astype(float).repeat(3, axis=2)
        rejected += mcnemar.mcnemar_test(a, b).p < 0.05
    assert rejected / 500 < 0.08


def test_the_items_error_is_that_of_resampled_images() -> None:
    rng = np.random.default_rng(7)
    frames = []
    for chance in (0.8, 0.6):
        base = predictions(rng.random(300) < chance, "base")
        novel = predictions(rng.random(200) < chance - 0.2, "novel")
        both = [mcnemar.correct_answers(base, ["base"]), mcnemar.correct_answers(novel, ["novel"])]
        frames.append(pd.concat(both).to_frame())
    found = mcnemar.image_standard_error(frames[0], frames[1], ("base", "novel"))
    a, b = ([f.loc[p].to_numpy()[:, 0] for p in ("base", "novel")] for f in frames)
    drawn = []
    for _ in range(4000):
        picks = [rng.integers(0, n, n) for n in (300, 200)]
        h = [
            harmonic_mean(*(100 * x[i].mean() for x, i in zip(m, picks, strict=True)))
            for m in (a, b)
        ]
        drawn.append(h[0] - h[1])
    assert found == pytest.approx(np.std(drawn), rel=0.05)


# --- verdicts --------------------------------------------------------------------------------


def test_a_difference_planted_everywhere_is_said_with_its_parameters() -> None:
    small = {"params/trainable": 1000.0}
    large = {"params/trainable": 11_000.0}
    runs = grid(
        "adaring", {d: a + 2 for d, a in FIVE.items()}, (1, 2, 3), jitter(0.3, 1), metrics=small
    )
    runs += grid("lora", FIVE, (1, 2, 3), jitter(0.3, 2), metrics=large)
    (found,) = compared(runs, ["adaring", "lora"])
    assert found.value == pytest.approx(2, abs=0.4)
    assert found.wins == (5, 0, 0)
    text = comparison_sentence(found)
    assert text.startswith("AdaRing is ahead of LoRA by ")
    assert "3 seeds, 5 data sets, paired), with 11 times fewer trainable parameters." in text
    (turned,) = compared(runs, ["lora", "adaring"])
    assert comparison_sentence(turned) == text


def test_a_difference_that_turns_between_data_sets_is_said_of_these_alone() -> None:
    signs = dict(zip(FIVE, (9, -2, 9, -2, 1), strict=True))
    runs = grid("a", {d: a + signs[d] for d, a in FIVE.items()}, (1, 2, 3), jitter(0.2, 1))
    runs += grid("b", FIVE, (1, 2, 3), jitter(0.2, 2))
    (found,) = compared(runs, ["a", "b"])
    text = comparison_sentence(found)
    assert text.startswith("a is ahead of b by ")
    assert "whether this holds on other data sets is open (95 % -" in text


def test_noise_is_called_so_with_the_seeds_that_would_settle_it() -> None:
    runs = grid("a", FIVE, (1, 2, 3), jitter(2, 1)) + grid("b", FIVE, (1, 2, 3), jitter(2, 2))
    (found,) = compared(runs, ["a", "b"])
    text = comparison_sentence(found)
    assert "cannot be told apart" in text
    assert "to see 0.5 points on these data sets you need about" in text


def test_the_seeds_of_the_hint_are_enough_and_not_too_many() -> None:
    rng = np.random.default_rng(8)
    needed = int(comparison.seeds_needed(bootstrap.Difference(0, 0, 0, 0, 1 / math.sqrt(3), 8), 3))
    shown = []
    for seeds in (needed, needed - 4):  # 4 data sets, sd of a cell 2: of their average 1
        cells = rng.normal(0.5, 2, (4000, seeds, 4))
        means, errors = cells.mean((1, 2)), np.sqrt((cells.var(1, ddof=1) / seeds).sum(1)) / 4
        shown.append(np.mean(abs(means / errors) > stats.t.ppf(0.975, 4 * (seeds - 1))))
    assert shown[0] > 0.78
    assert shown[1] < 0.82


def test_holm_is_over_all_comparisons() -> None:
    runs = [r for i, m in enumerate("abcd") for r in grid(m, FIVE, (1, 2, 3), jitter(1, i))]
    found = compared(runs, ["a", "b", "c", "d"])
    assert len(found) == 6
    raw = sorted(c.seeds.p for c in found)
    expected = np.minimum(1, np.maximum.accumulate([(6 - i) * p for i, p in enumerate(raw)]))
    assert sorted(c.seeds_holm for c in found) == pytest.approx(expected)
    against = compared(runs, ["a", "b", "c", "d"], baseline="b")
    assert [(c.paired.a.name, c.paired.b.name) for c in against] == [
        ("a", "b"),
        ("c", "b"),
        ("d", "b"),
    ]


def test_wilcoxon_waits_for_six_data_sets() -> None:
    assert math.isnan(comparison.wilcoxon_p(np.ones(5)))
    changes = np.array([1.0, 2, 3, 4, 5, -0.5])
    assert comparison.wilcoxon_p(changes) == stats.wilcoxon(changes).pvalue
    assert comparison.wilcoxon_p(np.zeros(6)) == 1.0


# --- who is meant, and what is refused -------------------------------------------------------


def ranks() -> list[Run]:
    runs = []
    for rank, val, test in ((2, 60.0, 50.0), (4, 70.0, 40.0), (8, 65.0, 90.0)):
        settings = {"rank": rank, "sites": '["q", "v"]', "fold": "true"}
        extra = {"acc/val": val}
        runs += grid("lora", {"x": test}, (1, 2), settings=settings, metrics=extra)
    return [*runs, *grid("b", {"x": 50.0}, (1, 2))]


def test_several_configurations_are_listed_and_a_setting_chooses() -> None:
    with pytest.raises(UsageError, match=r'3 configurations: "lora rank=2"; "lora rank=4"; "lora'):
        compared(ranks(), ["lora", "b"])
    for words in ("lora rank=4", "lora method.rank=4.0 sites=q,v fold=true"):
        (found,) = compared(ranks(), [words, "b"])
        assert found.value == pytest.approx(-10)
    two = compared(ranks(), ["lora rank=2", "lora rank=8"])
    assert comparison_sentence(two[0]).startswith(
        "LoRA (rank=8) is ahead of LoRA (rank=2) by 40.0 points"
    )
    assert len(compared(ranks(), ["lora", "b"], several="all")) == 6


def test_the_best_is_chosen_by_validation_and_never_by_test() -> None:
    (found,) = compared(ranks(), ["lora", "b"], several="best")
    assert found.value == pytest.approx(-10)  # rank 4: best on validation, worst on test
    assert found.paired.a.name == "lora rank=4"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["lora rank=3", "b"], r"no finished run with rank=3; recorded: 2, 4, 8"),
        (["lora rnk=3", "b"], r"lora: setting 'rnk': unknown, did you mean 'rank'"),
        (["lroa", "b"], r"method 'lroa' in the finished runs: unknown, did you mean 'lora'"),
        (["lora rank", "b"], r"'rank': expected key=value"),
        (["lora 'rank", "b"], r"No closing quotation"),
        (["rank=3", "b"], r"expected a method, and then settings"),
        (["b", "b"], r"'b': the same runs are named twice"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(names: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compared(ranks(), names)


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("data_hash", "images"),
        ("subset_hash", "few-shot subset"),
        ("template_hash", "template"),
        ("transform_hash", "image transform"),
        ("backbone_hash", "backbone weights"),
    ],
)
def test_runs_on_other_data_are_refused_with_the_reason(tag: str, reason: str) -> None:
    same = {"acc/test": 50.0}
    runs = [run("a", "x", 1, same), run("a", "y", 1, same), run("b", "x", 1, same)]
    runs.append(run("b", "y", 1, same, **{tag: "other"}))
    table = runs_frame(runs)
    a, b = selection.select_candidates(table, ["a", "b"], "refuse")
    found = pair_runs(a, b, "acc/test")
    assert found.datasets == ("x",)
    assert f"y: 1 pair of runs refused, {reason} differ" in found.notes
    with pytest.raises(
        UsageError, match=f"nothing to compare: y: 1 pair of runs refused, {reason}"
    ):
        compared(runs[1::2], ["a", "b"])


def test_runs_without_a_partner_are_counted_and_two_shot_counts_refused() -> None:
    runs = grid("a", FIVE, (1, 2, 3)) + grid("b", {"u": 1.0, "v": 2.0}, (1, 2))
    a, b = selection.select_candidates(runs_frame(runs), ["a", "b"], "refuse")
    assert pair_runs(a, b, "acc/test").notes == (
        "a: 11 runs left out, without a partner (u, v, w, x, y)",
    )
    both = [r for m in "ab" for n in (1, 4) for r in grid(m, {"x": 50.0}, (1, 2), shots=n)]
    with pytest.raises(UsageError, match=r'x: both have runs with 1 and 4 shots; .* "a shots=1"'):
        compared(both, ["a", "b"])
    assert len(compared(both, ["a shots=1", "b"])[0].paired.cells) == 2


# --- as a user -------------------------------------------------------------------------------


def test_the_command_compares_writes_and_says_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["methods=zero_shot,linear_probe", "data=digits,flags", "seeds=1,2", "data.shots=1"]
    assert main.call(["suite", "base_to_novel", *words, "train.epochs=2", "-q"]) == 0
    capsys.readouterr()
    out = ["--out", str(tmp_path)]
    assert main.call(["compare", "linear_probe", "zero_shot", *out]) == 0
    shown = capsys.readouterr().out
    assert "LinearProbe" in shown.splitlines()[-1]
    assert (tmp_path / "compare.md").read_text().startswith("# Comparison: base_to_novel on embe")
    assert main.call(["compare", "linear_probe", "zero_shot", "--json", *out]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["n_datasets"] == 2
    assert record["sentence"] in shown
    digits = record["datasets"][0]
    assert digits["n_images"] > 100
    change = 100 * (digits["only_first_right"] - digits["only_second_right"]) / digits["n_images"]
    assert change != 0
    assert main.call(["compare", "linear_probe", "zero_shot", "--metric", "acc/novel", *out]) == 0
    assert "have the same points of novel accuracy" in capsys.readouterr().out
    for wrong, line in (
        (["compare", "linear_probe"], "name at least two methods"),
        (["compare", "linear_probe", "zero_shot", "--data", "digit"], "did you mean 'digits'"),
        (["compare", "linear_probe", "zero_shot", "--metric", "acc/tst"], "metric 'acc/tst'"),
        (["compare", "linear_probe", "zero_shot", "--protocol", "few_shot"], "--protocol"),
    ):
        assert main.call(wrong) == 2
        assert line in capsys.readouterr().err


def test_the_tables_name_every_pair_and_data_set() -> None:
    runs = [r for i, m in enumerate("abc") for r in grid(m, FIVE, (1, 2), jitter(1, i))]
    found = compared(runs, ["a", "b", "c"])
    assert len(pair_rows(found)) == 3
    assert len(dataset_rows(found)) == 15
    text = comparison_markdown(found, "t")
    assert "p-values are Holm's, for 3 comparisons made together" in text
    assert "no McNemar" in text


def test_an_effect_needs_three_differences() -> None:
    assert math.isnan(comparison.hedges_g(np.array([1.0, 2.0])))
    three = np.array([1.0, 2.0, 3.0])  # mean 2, deviation 1, correction 1 - 3 / (4 * 2 - 1)
    assert comparison.hedges_g(three) == pytest.approx(2 * 4 / 7)
