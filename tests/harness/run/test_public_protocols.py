"""Every protocol, end to end, on the public layouts drawn small and a tiny model."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.data import public_sets, registry, split
from harness.model import backbone
from harness.run import config
from harness.run.execute import execute
from harness.spec import protocols
from harness.spec.spec import Spec

TINY = Path(__file__).parents[2] / "tiny" / "long.json"
FAST = [f"backbone={TINY}", "pretrained=random", "train.epochs=1", "shots=2"]
TARGETS = [name for name in public_sets.collections()["all11"] if name != "imagenet"]


def spec(protocol: str, *words: str) -> Spec:
    fast = [w for w in FAST if protocol != "full" or not w.startswith("shots")]
    return config.build(protocol, ["method=linear_probe", *fast, *words])


@pytest.mark.parametrize("name", public_sets.collections()["all11"])
@pytest.mark.parametrize("protocol", ["few_shot", "base_to_novel", "full"])
def test_every_public_set_runs_under_every_protocol(protocol: str, name: str, public: Path) -> None:
    result = execute(spec(protocol, f"data={name}"), "cpu")
    known = public_sets.known_sets()[name]
    assert sum(len(p.ids) for p in result.predictions) == known.test
    assert result.tags["test_reads"] == "1"
    if protocol == "full":
        held_out = 0 if known.val else 4 * known.classes  # ImageNet has no validation split
        assert result.tags["shots"] == "0"
        assert len(result.losses) == -(-(known.train - held_out) // 32)


@pytest.mark.parametrize("name", public_sets.SHIFTED)
def test_a_shifted_set_is_tested_among_its_own_classes(name: str, public: Path) -> None:
    result = execute(spec("domain_generalization", f"data.targets={name}"), "cpu")
    part = result.predictions[1]
    assert part.part == name
    assert result.classnames[name] == registry.read_dataset(name).classnames
    assert part.predicted.max() < public_sets.known_sets()[name].classes
    assert result.metrics[f"acc/{name}"] == result.metrics["acc/targets"] == part.accuracy


def test_one_training_serves_every_target(public: Path) -> None:
    chosen = spec("cross_dataset", "method.bias=true")
    assert list(chosen.data.targets) == TARGETS
    result = execute(chosen, "cpu")
    alone = execute(spec("few_shot", "data=imagenet", "method.bias=true"), "cpu")
    assert result.losses == alone.losses
    assert result.metrics["acc/test"] == alone.metrics["acc/test"]
    assert result.metrics["ece/test"] == alone.metrics["ece/test"]
    found = [result.metrics[f"acc/{name}"] for name in TARGETS]
    assert result.metrics["acc/targets"] == pytest.approx(np.mean(found))
    for key, value in alone.state.items():
        assert (result.state[key] == value).all()


def test_targets_have_their_own_template_unless_one_is_given(public: Path) -> None:
    words = ["data=imagenet", "data.targets=dtd,pets"]
    transform = backbone.load_backbone(spec("cross_dataset", *words).backbone).transform
    parts = split.load_split(spec("cross_dataset", *words), transform).held_out.parts
    assert [p.templates for p in parts] == [
        ("a photo of a {}.",), ("{} texture.",), ("a photo of a {}, a type of pet.",),
    ]  # fmt: skip
    same = spec("cross_dataset", *words, "data.template=a photo of a {}.")
    assert {p.templates for p in split.load_split(same, transform).held_out.parts} == {
        ("a photo of a {}.",)
    }


def test_what_is_tested_is_part_of_what_identifies_the_data(public: Path) -> None:
    transform = backbone.load_backbone(spec("few_shot").backbone).transform
    hashes = [
        split.load_split(spec(protocol, "data=imagenet", *words), transform).hashes
        for protocol, *words in (
            ("few_shot",),
            ("cross_dataset", "data.targets=dtd"),
            ("cross_dataset", "data.targets=dtd,eurosat"),
        )
    ]
    assert len({h["data_hash"] for h in hashes}) == 3
    assert len({h["names_hash"] for h in hashes}) == 3
    assert len({h["subset_hash"] for h in hashes}) == 1


def test_generalized_adds_both_halves_among_all_names(public: Path) -> None:
    plain = execute(spec("base_to_novel", "data=fgvc"), "cpu")
    wide = execute(spec("base_to_novel", "data=fgvc", "data.generalized=true"), "cpu")
    extra = {"acc/base_all", "acc/novel_all", "acc/hmean_all"}
    assert set(wide.metrics) - set(plain.metrics) == extra
    for name in ("acc/base", "acc/novel", "acc/hmean", "ece/test"):
        assert wide.metrics[name] == plain.metrics[name]
    parts = {p.part: p for p in wide.predictions}
    assert len(wide.classnames["novel_all"]) == 4
    assert set(parts["novel_all"].label) == {2, 3}  # labels among all names
    assert parts["novel_all"].accuracy <= parts["novel"].accuracy  # more names, same text score
    both = protocols.harmonic_mean(wide.metrics["acc/base_all"], wide.metrics["acc/novel_all"])
    assert wide.metrics["acc/hmean_all"] == both


def test_the_embedded_suite_can_be_crossed_too() -> None:
    chosen = config.build("cross_dataset", ["method=zero_shot", "data=digits"])
    assert set(chosen.data.targets) == set(registry.embedded_names()) - {"digits"}
    chosen = config.build(
        "cross_dataset", ["method=zero_shot", "data=digits", "data.targets=flags"]
    )
    result = execute(chosen, "cpu")
    alone = execute(config.build("few_shot", ["method=zero_shot", "data=flags"]), "cpu")
    assert result.metrics["acc/flags"] == alone.metrics["acc/test"]


def test_few_shot_takes_the_shots_of_the_papers_as_a_grid(public: Path) -> None:
    from sweeps.suite.build import build_suite

    words = ["methods=zero_shot", "data=pets,all11", "shots=1,2,4,8,16", "seeds=1-3"]
    suite = build_suite("few_shot", words)
    assert len(suite.specs) == 11 * 5 * 3
    assert suite.specs[0].data.name == "oxford_pets"
    assert {s.data.short_classes for s in suite.specs} == {"take"}


def test_new_is_another_word_for_novel() -> None:
    words = ["method=zero_shot", "data=digits"]
    assert config.build("base_to_new", words) == config.build("base_to_novel", words)


REFUSED = {
    ("full", "shots=4"): "data.shots: full trains on every image",
    ("few_shot", "data=digits", "shots=0"): "data.shots: must be greater than 0, got 0",
    ("few_shot", "data=digits", "data.targets=flags"): "data.targets: only cross_dataset and",
    ("few_shot", "data=digits", "data.generalized=true"): "only base_to_novel has novel classes",
    ("domain_generalization", "data=digits"): "data.targets: name the data sets to test",
    ("cross_dataset", "data=digits", "data.targets=digits"): "data.targets: name the data sets",
    ("cross_dataset", "data=digits", "data.targets=flag"): "did you mean 'flags'",
    ("cross_dataset", "data=digits", "data.targets=3"): "data.targets: expected a list, got 3",
    ("few_shot", "data=all11"): "all11 stands for several data sets; use `ringbench suite`",
    ("few_shot", "data=dtt"): "did you mean 'dtd'?",
    ("few_shot", "data=dtd"): "set RINGBENCH_DATA or data.root",
    ("few_shot", "data=dtd", "data.root=/nowhere"): "data.root: /nowhere: no such folder",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_a_protocol_cannot_follow_is_told_in_one_line(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(public_sets.ROOT, raising=False)
    protocol, *words = arguments
    assert main.call(["run", protocol, "method=zero_shot", *words]) == 2
    shown = capsys.readouterr().err
    assert REFUSED[arguments] in shown
    assert shown.count("\n") == 1


def test_the_board_of_a_shift_has_a_column_for_each_target(
    public: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["methods=zero_shot,linear_probe", *FAST, "seeds=1,2", "-q"]
    assert main.call(["suite", "domain_generalization", *words]) == 0
    assert main.call(["leaderboard", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {r["dataset"] for r in rows} == {"imagenet"}
    for row in rows:
        means = [row[f"acc/{name}_mean"] for name in public_sets.SHIFTED]
        assert row["acc/targets_mean"] == pytest.approx(np.mean(means))
    assert main.call(["leaderboard"]) == 0
    assert "targets" in capsys.readouterr().out


def test_both_harmonic_means_of_several_sets_are_stored(
    public: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["methods=zero_shot", *FAST, "data=dtd,eurosat,pets", "-q"]
    assert main.call(["suite", "base_to_novel", *words]) == 0
    assert main.call(["leaderboard", "--json"]) == 0
    rows = {r["dataset"]: r for r in json.loads(capsys.readouterr().out)}
    single = [rows[name] for name in ("dtd", "eurosat", "oxford_pets")]
    base, novel = (np.mean([r[f"acc/{half}_mean"] for r in single]) for half in ("base", "novel"))
    average = rows["average"]
    assert average["acc/hmean_mean"] == pytest.approx(2 * base * novel / (base + novel))
    mean_of_h = np.mean([r["acc/hmean_mean"] for r in single])
    assert average["acc/hmean_of_sets_mean"] == pytest.approx(mean_of_h)


def test_the_lists_name_the_public_sets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["ls", "datasets", "--json"]) == 0
    rows = {r["data set"]: r for r in json.loads(capsys.readouterr().out)}
    assert rows["dtd"]["train"] == 2820
    assert rows["imagenet_r"]["test"] == 30000
    assert main.call(["ls", "protocols", "--json"]) == 0
    listed = {r["protocol"] for r in json.loads(capsys.readouterr().out)}
    assert listed == {
        "base_to_novel", "few_shot", "full", "cross_dataset", "domain_generalization", "multi_task",
    }  # fmt: skip
