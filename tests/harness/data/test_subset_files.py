"""Few-shot subsets: both rules against their own words, as files, and what two of them share."""

import json
import random
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cli import main
from harness.data import decoded_rows, few_shot, registry, split, subset_comparison, subset_files
from harness.data.dataset import Dataset
from harness.model import backbone
from harness.run import config
from harness.spec.spec import DataSpec
from methods.kit.core.errors import UsageError
from tests.drawn_images import class_folders

Item = tuple[str, int, str]


def restated(split: dict[str, list[Item]], k: int, seed: int, rule: str) -> dict[str, list[str]]:
    """Both rules as CoOp's and CLIP-LoRA's scripts go about it, on the split file itself.

    One generator; a part's items in a list for each label, labels as they come; K of each list.
    """
    generator = random.Random(seed)

    def pick(part: str, count: int) -> list[str]:
        lists: dict[int, list[str]] = {}
        for path, label, _ in split[part]:
            lists.setdefault(label, []).append(path)
        chosen: list[str] = []
        for items in lists.values():
            if len(items) >= count:
                chosen += generator.sample(items, count)
            else:
                chosen += items if rule == "coop" else generator.choices(items, k=count)
        return chosen

    order = ("train", "val") if rule == "coop" else ("val", "train")
    picked = {part: pick(part, k if part == "train" else min(k, 4)) for part in order}
    return {"train": picked["train"], "val": picked["val"]}


def split_file(root: Path, folder: str, name: str) -> dict[str, list[Item]]:
    split: dict[str, list[Item]] = json.loads(
        (root / folder / f"split_zhou_{name}.json").read_text()
    )
    return split


SPLIT_SETS = (
    ("caltech101", "caltech-101", "Caltech101"),
    ("dtd", "dtd", "DescribableTextures"),
    ("oxford_flowers", "oxford_flowers", "OxfordFlowers"),
)


@pytest.mark.parametrize("rule", subset_comparison.RULES)
@pytest.mark.parametrize(("name", "folder", "title"), SPLIT_SETS)
def test_the_picks_are_those_of_the_rule_restated(
    rule: str, name: str, folder: str, title: str, public: Path
) -> None:
    table, split = registry.read_dataset(name), split_file(public, folder, title)
    for k in (1, 2, 4, 5):  # Caltech's last class has 3 training images
        for seed in (1, 2, 3):
            spec = config.check_part(
                "data",
                DataSpec,
                {"name": name, "shots": k, "subset": rule, "short_classes": "take"},
            )
            drawn = few_shot.draw_subset(table, spec, seed)
            expected = restated(split, k, seed, rule)
            assert [table.paths[r] for r in drawn.train] == expected["train"]
            assert [table.paths[r] for r in drawn.val] == expected["val"]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=6),
    k=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
    mix=st.randoms(use_true_random=False),
    rule=st.sampled_from(subset_comparison.RULES),
)
def test_any_split_is_drawn_from_by_the_rule(
    sizes: list[tuple[int, int]], k: int, seed: int, mix: random.Random, rule: str
) -> None:
    split: dict[str, list[Item]] = {"train": [], "val": []}
    for label, (train, val) in enumerate(sizes):
        split["train"] += [(f"t{label}/{i}", label, f"class {label}") for i in range(train)]
        split["val"] += [(f"v{label}/{i}", label, f"class {label}") for i in range(val)]
    for rows in split.values():
        mix.shuffle(rows)
    table = table_of(split, len(sizes))
    spec = DataSpec("t", shots=k, subset=rule, short_classes="take")  # type: ignore[arg-type]
    drawn = few_shot.draw_subset(table, spec, seed)
    expected = restated(split, k, seed, rule)
    assert [table.paths[r] for r in drawn.train] == expected["train"]
    assert [table.paths[r] for r in drawn.val] == expected["val"]


def table_of(split: dict[str, list[Item]], classes: int) -> Dataset:
    rows = [(part, *item) for part, items in split.items() for item in items]
    return Dataset(
        name="t",
        classnames=tuple(f"class {i}" for i in range(classes)),
        template="{}",
        labels=np.array([row[2] for row in rows]),
        split=np.array([row[0] for row in rows]),
        images=[b""] * len(rows),
        digest="d",
        paths=tuple(row[1] for row in rows),
    )


def test_imagenet_under_clip_lora_draws_both_at_once(public: Path) -> None:
    table = registry.read_dataset("imagenet")
    drawn = few_shot.draw_subset(table, DataSpec("imagenet", shots=3, subset="clip_lora"), seed=7)
    generator = random.Random(7)
    rows = table.rows("train").tolist()
    train, val = [], []
    for label in range(5):
        both = generator.sample([r for r in rows if table.labels[r] == label], 3 + 3)
        train += both[:3]
        val += both[3:]
    assert drawn.train.tolist() == train
    assert drawn.val.tolist() == val


def test_a_set_of_test_images_is_a_target_only(public: Path) -> None:
    spec = config.build("few_shot", ["method=zero_shot", "data=imagenet_a"])
    with pytest.raises(UsageError, match=r"test images only; it can be a target"):
        split.check_data(spec)


def made(root: Path, *words: str) -> list[subset_comparison.StoredSubset]:
    return subset_comparison.store_subsets(
        words or ("dtd",), ["coop", "clip_lora"], [2], [1, 2], root=str(root)
    )


def test_subsets_lie_beside_the_split_and_are_read_back(public: Path, tmp_path: Path) -> None:
    shutil.copytree(public / "dtd", tmp_path / "dtd")
    found = made(tmp_path)
    folder = tmp_path / "dtd" / "split_fewshot"
    assert sorted(p.name for p in folder.iterdir()) == [
        "shot_2-seed_1-clip_lora.json", "shot_2-seed_1.json",
        "shot_2-seed_2-clip_lora.json", "shot_2-seed_2.json",
    ]  # fmt: skip
    assert all(s.written for s in found)
    assert not any(s.written for s in made(tmp_path))
    stored = json.loads((folder / "shot_2-seed_1.json").read_text())
    split = split_file(public, "dtd", "DescribableTextures")
    expected = restated(split, 2, 1, "coop")
    assert [item["path"] for item in stored["train"]] == expected["train"]
    assert [item["path"] for item in stored["val"]] == expected["val"]
    header = {key: stored[key] for key in ("data", "rule", "seed", "shots", "val_shots")}
    assert header == {"data": "dtd", "rule": "coop", "seed": 1, "shots": 2, "val_shots": 4}
    assert stored["source_sha256"] == registry.read_dataset("dtd").source
    first = stored["train"][0]
    assert (first["label"], first["classname"]) == next(
        (label, name) for path, label, name in split["train"] if path == first["path"]
    )


def test_a_folder_that_cannot_be_written_to_sends_them_to_the_results(
    public: Path, tmp_path: Path, own_home: Path
) -> None:
    shutil.copytree(public / "dtd", tmp_path / "dtd")
    (tmp_path / "dtd" / "split_fewshot").write_text("")  # root may write below any folder
    (first, *_) = made(tmp_path)
    assert first.file.is_relative_to(own_home)
    assert subset_files.read_subset(first.file)["rule"] == "coop"
    assert not made(tmp_path)[0].written


SPOILT: dict[str, Any] = {
    "drawn from another split (its SHA-256 differs)": {"source_sha256": "0" * 64},
    "train: not what rule coop draws": {"train": []},
    "seed: not what rule coop draws": {"seed": 3},
    "not a few-shot subset": None,
}


@pytest.mark.parametrize("message", SPOILT)
def test_a_run_refuses_a_subset_that_is_not_its_own(
    message: str, public: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(public / "dtd", tmp_path / "dtd")
    made(tmp_path)
    path = tmp_path / "dtd" / "split_fewshot" / "shot_2-seed_1.json"
    words = ["method=zero_shot", "data=dtd", "shots=2", f"data.root={tmp_path}"]
    assert split.check_data(config.build("few_shot", words)) == 3
    spoilt = SPOILT[message]
    stored = json.loads(path.read_text())
    path.write_text("{" if spoilt is None else json.dumps(stored | spoilt))
    with pytest.raises(UsageError) as raised:
        split.check_data(config.build("few_shot", words))
    assert message in str(raised.value)
    assert str(path) in str(raised.value)
    assert main.call(["run", "few_shot", *words]) == 2
    assert message in capsys.readouterr().err


def test_the_overlap_is_what_the_paths_say(public: Path, tmp_path: Path) -> None:
    shutil.copytree(public / "dtd", tmp_path / "dtd")
    found = made(tmp_path)
    pairs = {(p.one, p.other): p for p in subset_comparison.compare_subsets(found)}
    split = split_file(public, "dtd", "DescribableTextures")
    assert len(pairs) == 4
    for (one, other), pair in pairs.items():
        sides = []
        for side in (one, other):
            rule, seed = side.split(", seed ")
            sides.append(restated(split, 2, int(seed), rule))
        for part, shared in (("train", pair.train), ("val", pair.val)):
            a, b = (set(side[part]) for side in sides)
            assert shared == pytest.approx(100 * len(a & b) / 6)


def test_the_command_writes_compares_and_says_so(
    public: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(public / "dtd", tmp_path / "dtd")
    shutil.copytree(public / "eurosat", tmp_path / "eurosat")
    words = ["data", "fewshot", "dtd,eurosat", "--shots", "1,2", "--seeds", "1-2"]
    words += ["--rules", "coop,clip_lora", "--root", str(tmp_path)]
    assert main.call([*words, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["subsets"]) == 2 * 2 * 2 * 2
    assert {s["state"] for s in shown["subsets"]} == {"written"}
    assert len(shown["overlap"]) == 2 * 2 * 4
    assert main.call(words) == 0
    assert "images in common" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dtt"], "did you mean 'dtd'"),
        (["dtd", "--rules", "cop"], "did you mean 'coop'"),
        (["dtd", "--shots", "0"], "--shots '0': expected whole numbers from 1"),
        (["dtd", "--seeds", "3-1"], "--seeds '3-1': expected whole numbers from 0"),
        (["dtd", "--seeds", "1-9999"], "more than 1,000 numbers"),
        (["dtd", "--shots", ","], "--shots: no number given"),
        (["imagenet_a"], "test images only"),
    ],
)
def test_wrong_words_are_told_in_one_line(
    words: list[str], message: str, public: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(["data", "fewshot", *words]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


def test_an_embedded_set_has_subsets_too(own_home: Path) -> None:
    (subset,) = subset_comparison.store_subsets(["flags"], ["coop"], [2], [1])
    assert subset.file.is_relative_to(own_home)
    assert not subset_comparison.store_subsets(["flags"], ["coop"], [2], [1])[0].written


def test_own_class_folders_stay_as_they_are(own_home: Path, tmp_path: Path) -> None:
    mine = class_folders(tmp_path / "mine")
    before = sorted(mine.rglob("*"))
    (subset,) = subset_comparison.store_subsets([str(mine)], ["coop"], [2], [1])
    assert subset.file.is_relative_to(own_home)
    assert sorted(mine.rglob("*")) == before


def test_of_a_large_set_only_what_is_drawn_is_decoded(
    public: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded_rows, "MEMORY_BYTES", 0)
    monkeypatch.setattr(decoded_rows, "WHOLE_BYTES", 0)
    monkeypatch.setattr(decoded_rows, "_kept", OrderedDict())
    shutil.copytree(public / "dtd", tmp_path / "dtd")
    words = ["method=zero_shot", "data=dtd", "shots=1", f"data.root={tmp_path}"]
    spec = config.build("few_shot", words)
    table = registry.read_dataset("dtd", str(tmp_path))
    drawn = few_shot.draw_subset(table, spec.data, 1)
    used = {*drawn.train.tolist(), *drawn.val.tolist(), *table.rows("test").tolist()}
    for row, path in enumerate(table.paths):
        if row not in used:
            (tmp_path / "dtd" / "images" / path).write_bytes(b"broken")
    transform = backbone.load_backbone(spec.backbone).transform
    assert len(split.load_split(spec, transform).train) == 3
    broken = tmp_path / "dtd" / "images" / table.paths[int(drawn.train[0])]
    broken.write_bytes(b"broken")
    monkeypatch.setattr(decoded_rows, "_kept", OrderedDict())
    monkeypatch.setattr(decoded_rows, "_stamps", {})
    whole = (public / "dtd" / "images" / table.paths[int(drawn.train[0])]).read_bytes()
    with pytest.raises(UsageError, match=f"{table.paths[int(drawn.train[0])]} .*not an image"):
        split.load_split(spec, transform)
    broken.write_bytes(whole)  # mended, and found to be so by the next process
    monkeypatch.setattr(decoded_rows, "_kept", OrderedDict())
    monkeypatch.setattr(decoded_rows, "_stamps", {})
    assert len(split.load_split(spec, transform).train) == 3
