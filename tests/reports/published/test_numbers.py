"""Published numbers: printed as they are, compared only with the same thing, and audited."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import main
from harness.data import public_sets
from harness.spec.protocols import harmonic_mean
from harness.tracking.run_record import Run
from reports.published import audit, numbers

VIT = {"backbone": "ViT-B-16-quickgelu", "backbone.pretrained": "openai"}


def one(**wanted: str) -> numbers.Published:
    (found,) = [
        n for n in numbers.published_numbers() if all(getattr(n, k) == v for k, v in wanted.items())
    ]
    return found


def test_every_number_has_a_source_and_an_honest_word_for_it() -> None:
    assert len(numbers.published_numbers()) > 900
    for n in numbers.published_numbers():
        assert n.source
        assert n.evidence in ("read", "thread", "recalled", "computed")
        assert n.number >= 0
        assert n.template in ("", "coop", "generic", "learned", "imagenet_7", "ensemble")
        float(n.tolerance or 0)
        if n.protocol in ("few_shot", "base_to_novel"):
            assert n.dataset == "average" or n.dataset in public_sets.known_sets()


def test_some_numbers_are_those_that_papers_print() -> None:
    cell = {"protocol": "base_to_novel", "dataset": "dtd", "title": "CLIP zero-shot"}
    assert one(**cell, metric="acc/base").value == "53.24"
    assert one(**cell, metric="acc/novel").value == "59.90"
    assert one(**cell, metric="acc/base").tolerance == "0.15"
    mma = {"dataset": "eurosat", "title": "MMA", "protocol": "base_to_novel"}
    assert one(**mma, metric="acc/novel").value == "82.34"
    assert one(**mma, metric="acc/novel").tolerance == "4"
    lora = {"title": "CLIP-LoRA", "dataset": "dtd", "protocol": "few_shot"}
    assert one(**lora, shots="16").value == "72.0"
    assert one(title="MaPLe", metric="acc/imagenet_r").value == "76.98"


# --- the audit --------------------------------------------------------------------------------


def test_the_audit_flags_exactly_one_cell() -> None:
    checks = audit.audit_tables(numbers.published_numbers())
    wrong = [c for c in checks if c.verdict == "impossible"]
    assert [(c.title, c.dataset, c.what) for c in wrong] == [
        ("MMA", "average", "mean"),
        ("MMA", "ucf101", "H"),
    ]
    assert wrong[0].recomputed == pytest.approx(76.94, abs=0.005)
    assert wrong[1].recomputed == pytest.approx(83.01, abs=0.005)
    assert "acc/novel of ucf101 is 80.03; 78.53 would agree" in wrong[1].cell
    means_of_h = {c.title for c in checks if c.verdict == "mean of H"}
    assert means_of_h == {"RPO", "GDA", "EvoPrompt"}
    six = [c for c in checks if c.what == "mean" and c.protocol == "base_to_novel"]
    assert len(six) == 6 * 2 + 2  # six methods, both halves; a re-run


def test_the_audit_does_sums_of_shots_and_groups_too() -> None:
    checks = audit.audit_tables(numbers.published_numbers())
    lora = {c.shots: c.recomputed for c in checks if c.title == "CLIP-LoRA" and c.what == "mean"}
    assert {k: round(v, 1) for k, v in lora.items()} == {"1": 72.5, "4": 77.4, "16": 83.0}
    vtab = [c for c in checks if c.protocol == "vtab1k"]
    assert len(vtab) == 16 * 5
    assert all(c.verdict == "consistent" for c in vtab)


TABLE = [
    replace(numbers.published_numbers()[0], title="T", dataset=name, metric=metric, shots="16")
    for name in public_sets.collections()["all11"]
    for metric in ("acc/base", "acc/novel")
]


def printed(values: list[tuple[float, float]]) -> list[numbers.Published]:
    """A table as a paper prints it: cells, averages and harmonic means, to two decimals."""
    cells = [replace(n, value=f"{values[i // 2][i % 2]:.2f}") for i, n in enumerate(TABLE)]
    base, novel = (sum(v[i] for v in values) / 11 for i in (0, 1))
    rows = [("average", base, novel)]
    rows += [(n.dataset, *values[i]) for i, n in enumerate(TABLE[::2])]
    for name, b, n in rows:
        facts = {"acc/hmean": harmonic_mean(b, n)}
        facts |= {"acc/base": base, "acc/novel": novel} if name == "average" else {}
        cells += [
            replace(TABLE[0], dataset=name, metric=k, value=f"{v:.2f}") for k, v in facts.items()
        ]
    return cells


TABLES = st.lists(st.tuples(st.floats(5, 99), st.floats(5, 99)), min_size=11, max_size=11)


@given(TABLES)
def test_a_true_table_is_never_called_impossible(values: list[tuple[float, float]]) -> None:
    assert all(c.verdict == "consistent" for c in audit.audit_tables(printed(values)))


@given(TABLES, st.integers(0, 10), st.sampled_from(["acc/base", "acc/novel"]))
def test_a_mistyped_cell_is_found_and_named(
    values: list[tuple[float, float]], which: int, half: str
) -> None:
    cells = printed(values)
    name = public_sets.collections()["all11"][which]
    place = next(i for i, c in enumerate(cells) if (c.dataset, c.metric) == (name, half))
    true = cells[place].value
    cells[place] = replace(cells[place], value=f"{float(true) + 1.5:.2f}")
    wrong = [c for c in audit.audit_tables(cells) if c.verdict == "impossible"]
    assert ("average", half) in {(c.dataset, c.metric) for c in wrong}
    b, n = values[which]
    if 0.25 < b / n < 4:  # the H of a lopsided pair hardly depends on its larger half
        (named,) = [c for c in wrong if c.dataset == name]
        assert named.cell.startswith(f"{half} of {name} is {cells[place].value}")


# --- ours beside theirs -----------------------------------------------------------------------


def run(method: str, dataset: str, seed: int, metrics: dict[str, float], **other: str) -> Run:
    facts = {**VIT, "protocol": "base_to_novel", "data.template": "default", **other}
    tags = {
        "protocol": facts["protocol"], "backbone": facts["backbone"], "method": method,
        "configuration": f"{method}-c", "dataset": dataset, "shots": facts.get("shots", "16"),
        "seed": str(seed), "digest": f"{method}-{dataset}-{seed}",
    }  # fmt: skip
    return Run(tags["digest"], "finished", facts, metrics, tags, 0.0)


def verdicts(*runs: Run) -> dict[tuple[str, str], str]:
    return {(b.theirs.dataset, b.theirs.metric): b.verdict for b in numbers.match_published(runs)}


def test_ours_agrees_within_the_tolerance_and_not_beyond() -> None:
    runs = [
        run("zero_shot", "dtd", 1, {"acc/base": 53.24 + 0.14, "acc/novel": 59.90 - 0.16}),
    ]
    assert verdicts(*runs) == {("dtd", "acc/base"): "agrees", ("dtd", "acc/novel"): "differs"}


@pytest.mark.parametrize(
    "other",
    [
        {"backbone": "ViT-B-32-quickgelu"},
        {"backbone.pretrained": "laion2b_s34b_b88k"},
        {"protocol": "few_shot"},
        {"data.template": "a photo of a {}."},  # DTD's own is another
    ],
)
def test_nothing_else_is_compared(other: dict[str, str]) -> None:
    assert not verdicts(run("zero_shot", "dtd", 1, {"acc/base": 53.24}, **other))
    assert not verdicts(run("lora", "dtd", 1, {"acc/base": 53.24}))


def test_templates_are_compared_as_words() -> None:
    same = {"data.template": "a photo of a {}."}  # which is also ImageNet's own
    assert verdicts(run("zero_shot", "imagenet", 1, {"acc/base": 72.43}, **same))
    few = {"protocol": "few_shot", "shots": "16", "method.rank": "2", "data.subset": "clip_lora"}
    assert verdicts(run("lora", "eurosat", 1, {"acc/test": 91.5}, **few, **same)) == {
        ("eurosat", "acc/test"): "agrees"
    }
    assert not verdicts(run("lora", "eurosat", 1, {"acc/test": 91.5}, **few))
    coop_rule = {**few, "data.subset": "coop"}
    assert not verdicts(run("lora", "eurosat", 1, {"acc/test": 91.5}, **coop_rule, **same))


def test_the_average_needs_all_eleven_and_has_the_h_of_averages() -> None:
    names = public_sets.collections()["all11"]
    metrics = {"acc/base": 69.0, "acc/novel": 74.0, "acc/hmean": 70.0}
    runs = [run("zero_shot", name, seed, metrics) for name in names for seed in (1, 2)]
    (found,) = [
        b
        for b in numbers.match_published(runs)
        if (b.theirs.dataset, b.theirs.metric) == ("average", "acc/hmean")
    ]
    assert found.ours.mean == pytest.approx(harmonic_mean(69.0, 74.0))
    assert found.ours.n == 2
    assert found.theirs.value == "71.70"
    assert found.verdict == "no tolerance stated"
    assert not [k for k in verdicts(*runs[2:]) if k[0] == "average"]


def test_the_commands_show_and_audit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["published", "--audit"]) == 0
    shown = capsys.readouterr().out
    assert "2 impossible" in shown
    assert "78.53" in shown
    assert main.call(["published", "--audit", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sum(row["verdict"] == "impossible" for row in rows) == 2
    assert main.call(["run", "few_shot", "method=zero_shot", "data=digits", "-q"]) == 0
    assert main.call(["published"]) == 0
    assert "none of" in capsys.readouterr().err
