"""The public data sets in CoOp's layout: what is read, and what wrong data is told."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.data import public_sets, registry
from harness.data.public_sets import PublicSet
from harness.data.readers import coop
from harness.run import config
from harness.spec.spec import DataSpec
from methods.kit.core.errors import UsageError
from tests.coop_layouts import IMAGENET, TEST, TRAIN, VAL

Known = dict[str, PublicSet]


def test_the_table_holds_the_sets_in_the_order_of_papers() -> None:
    assert public_sets.collections()["all11"] == (
        "imagenet", "caltech101", "oxford_pets", "stanford_cars", "oxford_flowers", "food101",
        "fgvc_aircraft", "sun397", "dtd", "eurosat", "ucf101",
    )  # fmt: skip
    shifted = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
    assert public_sets.collections()["shift4"] == shifted
    assert sum(s.classes for n, s in public_sets.known_sets().items() if n not in shifted) == 2191


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("fgvc", "fgvc_aircraft"), ("aircraft", "fgvc_aircraft"), ("pets", "oxford_pets"),
        ("cars", "stanford_cars"), ("flowers", "oxford_flowers"), ("caltech", "caltech101"),
        ("flowers102", "oxford_flowers"), ("dtd", "dtd"),
    ],
)  # fmt: skip
def test_an_alias_is_the_same_run(alias: str, name: str) -> None:
    mine = config.build("few_shot", ["method=zero_shot", f"data={alias}"])
    assert mine == config.build("few_shot", ["method=zero_shot", f"data={name}"])
    assert mine.data.name == name


@pytest.mark.parametrize("name", public_sets.known_sets())
def test_every_layout_is_read(name: str, public: Path, drawn_sets: Known) -> None:
    table, known = registry.read_dataset(name), drawn_sets[name]
    assert len(table.classnames) == known.classes
    for part in ("train", "val", "test"):
        assert len(table.rows(part)) == getattr(known, part)
    assert table.template == public_sets.known_sets()[name].template
    for row in (0, len(table.paths) - 1):
        path = public / known.folder / known.images / table.paths[row]
        assert table.images[row] == path.read_bytes()
    assert (np.bincount(table.labels[table.rows("test")]) == TEST).all()


def test_class_names_are_corrected_as_coop_does(public: Path) -> None:
    assert registry.read_dataset("caltech101").classnames == (
        "face",
        "leopard",
        "airplane",
        "yin_yang",
    )
    assert registry.read_dataset("eurosat").classnames == (
        "Annual Crop Land",
        "Forest",
        "Sea or Lake",
    )
    assert registry.read_dataset("sun397").classnames == ("abbey", "outdoor church", "yard")
    assert registry.read_dataset("fgvc_aircraft").classnames[1] == "Boeing 717"
    assert registry.read_dataset("ucf101").classnames[0] == "Apply_Eye_Makeup"


def test_imagenet_is_listed_sorted_with_repeated_names(public: Path) -> None:
    table = registry.read_dataset("imagenet")
    assert table.classnames == IMAGENET
    assert list(table.paths) == sorted(table.paths, key=lambda p: (p.startswith("val"), p))
    assert not any(".DS_Store" in path for path in table.paths)
    assert len(table.rows("train")) == 5 * (TRAIN + VAL)
    assert len(table.rows("val")) == 0


def test_shifted_sets_keep_imagenets_names(public: Path) -> None:
    assert registry.read_dataset("imagenetv2").classnames == IMAGENET
    assert registry.read_dataset("imagenet_sketch").classnames == IMAGENET
    assert registry.read_dataset("imagenet_a").classnames == (IMAGENET[1], IMAGENET[3])
    assert registry.read_dataset("imagenet_r").classnames == (IMAGENET[0], IMAGENET[2], IMAGENET[4])


def test_the_source_is_the_hash_of_the_split_file(public: Path) -> None:
    path = public / "dtd" / "split_zhou_DescribableTextures.json"
    assert registry.read_dataset("dtd").source == hashlib.sha256(path.read_bytes()).hexdigest()


def test_another_root_and_other_folders_give_the_same_data(public: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(public / "dtd", tmp_path / "elsewhere" / "DTD")
    shutil.copytree(public / "imagenet" / "images", tmp_path / "elsewhere" / "inet")
    names = public / "imagenet" / "classnames.txt"
    (tmp_path / "elsewhere" / "inet" / "classnames.txt").write_text(names.read_text())
    (tmp_path / "elsewhere" / "paths.toml").write_text(
        'dtd = "DTD"\nimagenet = { folder = "inet", images = "" }\npets = "x"\n'.replace(
            'pets = "x"\n', f'oxford_pets = "{public}/oxford_pets"\n'
        )
    )
    for name in ("dtd", "imagenet", "oxford_pets"):
        there = coop.read(name, str(tmp_path / "elsewhere"))
        assert there.digest == registry.read_dataset(name).digest


def test_where_the_data_lies_is_no_part_of_a_run() -> None:
    here = config.build("few_shot", ["method=zero_shot", "data=dtd"])
    there = config.build("few_shot", ["method=zero_shot", "data=dtd", "data.root=/somewhere"])
    assert here.digest() == there.digest()
    assert "data.root" not in there.flat()
    assert there.data.root == "/somewhere"
    assert DataSpec("dtd", root="a") == DataSpec("dtd", root="b")


def split_of(root: Path) -> Path:
    return root / "dtd" / "split_zhou_DescribableTextures.json"


def changed(root: Path, change: Callable[[dict[str, list[list[object]]]], object]) -> None:
    split = json.loads(split_of(root).read_text())
    change(split)
    split_of(root).write_text(json.dumps(split))


def first_base(split: dict[str, list[list[object]]]) -> list[list[object]]:
    return [row for row in split["test"] if row[1] == 0][:1]


BROKEN: dict[str, Callable[[Path], object]] = {
    "no folder": lambda r: shutil.rmtree(r / "dtd"),
    "no such file; it lists the images": lambda r: split_of(r).unlink(),
    "not a split file: expected {train, val, test}": lambda r: split_of(r).write_text("[]"),
    "DescribableTextures.json: not a split file": lambda r: split_of(r).write_bytes(b"\x80\x04]q"),
    "17 train images are there, the published set has 18": lambda r: changed(
        r, lambda s: s["train"].pop()
    ),
    "2 classes are there, the published set has 3": lambda r: changed(
        r, lambda s: [s[k].__setitem__(slice(None), [x for x in s[k] if x[1] < 2]) for k in s]
    ),
    "labels must count from 0 without gaps; 2 is missing": lambda r: changed(
        r, lambda s: [x.__setitem__(1, 5) for k in s for x in s[k] if x[1] == 2]
    ),
    "3 test images of base classes are there, the published set has 4": lambda r: changed(
        r, lambda s: [x.__setitem__(1, 2) or x.__setitem__(2, "zigzagged") for x in first_base(s)]
    ),
    "is called both": lambda r: changed(r, lambda s: s["train"][0].__setitem__(2, "stripes")),
    "is not [path, label, class name]": lambda r: changed(
        r, lambda s: s["train"][0].__setitem__(1, "0")
    ),
    "leads out of the data set's folder": lambda r: changed(
        r, lambda s: s["train"][0].__setitem__(0, "../../secret.jpg")
    ),
    "1 of 33 listed images are missing, the first is": lambda r: (
        r / "dtd" / "images" / "banded" / "banded_0000.jpg"
    ).unlink(),
    "paths.toml: not TOML": lambda r: (r / "paths.toml").write_text("dtd = "),
    "paths.toml: dtt: unknown, did you mean 'dtd'": lambda r: (r / "paths.toml").write_text(
        'dtt = "a"'
    ),
    "dtd.classes: unknown": lambda r: (r / "paths.toml").write_text("dtd = { classes = 3 }"),
    "dtd.folder: expected a path, got 3": lambda r: (r / "paths.toml").write_text(
        "dtd = { folder = 3 }"
    ),
}


@pytest.mark.parametrize("message", BROKEN)
def test_what_is_wrong_with_a_folder_is_said_in_one_line(
    message: str, public: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(public / "dtd", root / "dtd")
    BROKEN[message](root)
    with pytest.raises(UsageError) as raised:
        registry.read_dataset("dtd", str(root))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_folders_of_classes_must_agree(public: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(public / "imagenet", root / "imagenet")
    shutil.rmtree(root / "imagenet/images/val/n01443537")
    with pytest.raises(UsageError, match="class n01443537 is in only one of its folders"):
        registry.read_dataset("imagenet", str(root))
    shutil.copytree(public / "imagenet-adversarial", root / "imagenet-adversarial")
    (root / "imagenet-adversarial/imagenet-a/n00000001").mkdir()
    with pytest.raises(UsageError, match=r"classnames\.txt has no class 'n00000001'"):
        registry.read_dataset("imagenet_a", str(root))
    shutil.copytree(public / "fgvc_aircraft", root / "fgvc_aircraft")
    (root / "fgvc_aircraft/images_variant_val.txt").write_text("0000003 Concorde\n")
    with pytest.raises(UsageError, match=r"variants\.txt has no variant 'Concorde'"):
        registry.read_dataset("fgvc_aircraft", str(root))


def test_a_missing_root_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(public_sets.ROOT, raising=False)
    with pytest.raises(UsageError, match=r"set RINGBENCH_DATA or data\.root .* holds dtd/"):
        registry.read_dataset("dtd")
    with pytest.raises(UsageError, match=r"data\.root: /nowhere: no such folder"):
        registry.read_dataset("dtd", "/nowhere")


def test_the_published_counts_are_asked_for_without_a_fixture(
    public: Path, monkeypatch: pytest.MonkeyPatch, drawn_sets: Known
) -> None:
    true = {**drawn_sets, "dtd": replace(drawn_sets["dtd"], classes=47)}
    monkeypatch.setattr(public_sets, "known_sets", lambda: true)
    with pytest.raises(UsageError, match="3 classes are there, the published set has 47"):
        coop.read("dtd", str(public))


def test_a_collection_is_no_single_data_set() -> None:
    with pytest.raises(UsageError, match="all11 stands for several data sets"):
        registry.check_name("all11")
