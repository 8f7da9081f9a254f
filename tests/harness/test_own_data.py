"""Own data without code: what is right becomes a table, what is wrong is said in one line."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import class_folders, encoded

from harness import backbone as backbones
from harness import cli, config, data, datasets
from harness.datasets import holdout, tabular, templates
from harness.datasets.table import Table
from harness.spec import BackboneSpec
from methods.kit.errors import UsageError


@pytest.fixture(autouse=True)
def read_anew() -> None:
    datasets._read.cache_clear()


def split_folders(root: Path, *parts: str) -> Path:
    for i, part in enumerate(parts):
        class_folders(root / part, images=4, seed=10 * i)
    return root


def listed(root: Path, images: int = 4, split: bool = True) -> pd.DataFrame:
    """A table of pictures that lie in class folders."""
    class_folders(root, images=images)
    rows = [(f"{c}/{i:03d}.png", c, i) for c in ("cat", "dog", "owl") for i in range(images)]
    frame = pd.DataFrame(rows, columns=["image", "label", "i"])
    if split:
        frame["split"] = ["test" if i % 4 == 0 else "train" for i in frame["i"]]
    return frame.drop(columns="i")


# --- what is right ---------------------------------------------------------------------------


def test_a_folder_of_class_folders_is_a_data_set(tmp_path: Path) -> None:
    table = datasets.read(str(class_folders(tmp_path / "pets", images=10)))
    assert table.name == "pets"
    assert table.classnames == ("cat", "dog", "owl")
    assert [len(table.rows(part)) for part in ("train", "val", "test")] == [21, 0, 9]
    assert np.bincount(table.labels[table.rows("test")]).tolist() == [3, 3, 3]
    for row in (0, 15, 29):
        assert table.images[row] == (tmp_path / "pets" / table.paths[row]).read_bytes()
        assert table.paths[row].startswith(table.classnames[table.labels[row]])


def test_folders_may_have_their_splits(tmp_path: Path) -> None:
    table = datasets.read(str(split_folders(tmp_path / "p", "Training", "valid", "test")))
    assert [len(table.rows(part)) for part in ("train", "val", "test")] == [12, 12, 12]
    assert table.paths[table.rows("val")[0]] == "valid/cat/000.png"


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    table = datasets.read(str(class_folders(tmp_path / "p", ("boat", "car", "train"))))
    assert table.classnames == ("boat", "car", "train")


def test_what_lies_around_is_not_in_the_way(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "p")
    digest = datasets.read(str(root)).digest
    (root / ".git").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "notes.txt").write_text("mine")
    (root / "cat" / ".DS_Store").write_text("x")
    (root / "cat" / "Thumbs.db").write_text("x")
    datasets._read.cache_clear()
    table = datasets.read(str(root))
    assert table.digest == digest
    assert table.ignored == ("cat/Thumbs.db",)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_of_paths_is_the_same_data_set_as_its_folders(suffix: str, tmp_path: Path) -> None:
    path = write(listed(tmp_path / "p"), tmp_path / "p" / f"t{suffix}")
    table = datasets.read(str(path))
    assert table.classnames == ("cat", "dog", "owl")
    assert [len(table.rows(part)) for part in ("train", "test")] == [9, 3]
    assert table.where(4) == str(tmp_path / "p" / "dog" / "000.png")
    split_less = write(listed(tmp_path / "p", split=False), tmp_path / "p" / f"u{suffix}")
    assert datasets.read(str(split_less)).digest == datasets.read(str(tmp_path / "p")).digest


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def test_columns_may_have_other_names_and_semicolons(tmp_path: Path) -> None:
    frame = listed(tmp_path / "p").rename(columns={"image": "File_Name", "label": "Class"})
    frame["domain"] = "home"
    path = tmp_path / "p" / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + frame.to_csv(index=False, sep=";").encode())
    table = datasets.read(str(path))
    assert table.classnames == ("cat", "dog", "owl")
    assert set(table.domains) == {"home"}


def test_numbered_labels_may_have_names(tmp_path: Path) -> None:
    frame = listed(tmp_path / "p")
    frame["classname"] = frame["label"]
    frame["label"] = frame["label"].map({"owl": 0, "dog": 1, "cat": 2})
    table = datasets.read(str(write(frame, tmp_path / "p" / "t.csv")))
    assert table.classnames == ("owl", "dog", "cat")
    bare = write(frame.drop(columns="classname"), tmp_path / "p" / "u.csv")
    assert datasets.read(str(bare)).classnames == ("0", "1", "2")


def test_words_that_look_like_something_else_stay_words(tmp_path: Path) -> None:
    frame = listed(tmp_path / "p")
    frame["label"] = frame["label"].map({"cat": "true", "dog": "false", "owl": "2020-01-01"})
    table = datasets.read(str(write(frame, tmp_path / "p" / "t.csv")))
    assert table.classnames == ("2020-01-01", "false", "true")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=2, max_size=6), st.integers(0, 99))
def test_the_held_out_share_does_not_depend_on_the_order(sizes: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rng = random.Random(seed)
    shas = [f"{rng.randrange(16**8):08x}" for _ in labels]
    names = [f"class {i}" for i in range(len(sizes))]
    split = holdout.split(labels, shas, names, "t")
    order = rng.sample(range(len(labels)), len(labels))
    mixed = holdout.split(labels[order], [shas[i] for i in order], names, "t")
    assert mixed.tolist() == split[order].tolist()
    for label, size in enumerate(sizes):
        tested = int((split[labels == label] == "test").sum())
        assert tested == max(1, round(0.3 * size))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=20))
def test_copies_are_never_held_out_from_each_other(keys: list[int]) -> None:
    shas = [f"{key:04d}" for key in keys]
    split = holdout.split(np.zeros(len(keys), int), shas, ["a"], "t")
    assert set(split) == {"train", "test"}
    if len(set(keys)) > 1:
        train, test = ({s for s, p in zip(shas, split, strict=True) if p == q} for q in set(split))
        assert not train & test


def test_two_commands_lead_from_a_folder_to_a_leaderboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    suite, board = (
        line.split()[1:]
        for line in readme.partition("**Your own images**")[2].splitlines()[2:5]
        if line.startswith("ringbench ")
    )
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "my-photos", images=14)
    assert cli.call([*suite, "train.epochs=1", "-q"]) == 0
    capsys.readouterr()
    assert cli.call([*board, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {r["method"] for r in rows} == {"adaring", "lora", "linear_probe", "zero_shot"}
    assert all(r["acc/test_n"] == 3 for r in rows)


def test_data_that_was_changed_is_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = class_folders(tmp_path / "p")
    words = ["run", "few_shot", "method=zero_shot", f"data={root}", "shots=1", "data.val_shots=1"]
    assert cli.call(words) == 0
    capsys.readouterr()
    assert cli.call(words) == 0
    assert "[already recorded]" in capsys.readouterr().err
    before = config.build(words[1], words[2:])
    (root / "cat" / "new.png").write_bytes(encoded(77))
    datasets._read.cache_clear()
    assert cli.call(words) == 0
    assert "[already recorded]" not in capsys.readouterr().err
    after = config.build(words[1], words[2:])
    assert after.digest() != before.digest()
    assert after.configuration() == before.configuration()
    with pytest.raises(UsageError, match=r"leave data\.content out to use it as it is"):
        data.check(before)


# --- class names and templates ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("n.txt", "house cat\n\nhound\nbarn owl\n"),
        ("n.json", '["house cat", "hound", "barn owl"]'),
        ("n.json", '{"owl": "barn owl", "dog": "hound", "cat": "house cat"}'),
    ],
)
def test_class_names_come_from_a_file(file: str, text: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text)
    root = class_folders(tmp_path / "p")
    words = ["method=zero_shot", f"data={root}", "shots=1", "data.val_shots=1"]
    transform = backbones.load(BackboneSpec()).transform
    plain = data.load(config.build("few_shot", words), transform)
    named = data.load(
        config.build("few_shot", [*words, f"data.classnames={tmp_path / file}"]), transform
    )
    assert named.train.classnames == ("house cat", "hound", "barn owl")
    assert named.hashes["names_hash"] != plain.hashes["names_hash"]
    assert named.hashes["data_hash"] == plain.hashes["data_hash"]


def test_the_sets_of_templates_are_those_of_clip(tmp_path: Path) -> None:
    table = datasets.read(str(class_folders(tmp_path / "p")))
    for word, theirs in (
        ("imagenet_7", open_clip.SIMPLE_IMAGENET_TEMPLATES),
        ("imagenet_80", open_clip.OPENAI_IMAGENET_TEMPLATES),
    ):
        found = templates.resolve(word, table)
        assert [t.replace("{}", "fox") for t in found] == [t("fox") for t in theirs]
    assert templates.resolve("generic", table) == ("a photo of a {}.",)
    assert templates.resolve("coop", table) == ("a photo of a {}.",)
    dtd = Table("dtd", *[()] * 6)  # type: ignore[arg-type]
    assert templates.resolve("coop", dtd) == ("{} texture.",)


@pytest.mark.parametrize("file", ["t.txt", "t.json"])
def test_templates_come_from_a_file(file: str, tmp_path: Path) -> None:
    mine = ["a {} at night.", "my {}."]
    text = "\n".join(mine) if file == "t.txt" else json.dumps(mine)
    (tmp_path / file).write_text(text)
    table = datasets.read(str(class_folders(tmp_path / "p")))
    assert templates.resolve(str(tmp_path / file), table) == tuple(mine)


def test_an_ensemble_is_the_mean_of_normalised_features() -> None:
    import torch

    from harness import run

    words = ["method=zero_shot", "data=digits", "data.template=imagenet_7"]
    spec = config.build("few_shot", words)
    backbone = backbones.load(spec.backbone)
    split = data.load(spec, backbone.transform)
    net = run.attach(spec, backbone, split)
    assert net.frozen_text is not None
    tokenizer = open_clip.get_tokenizer("ViT-B-32", context_length=backbone.context)
    for i, name in enumerate(split.train.classnames):
        texts = [t.replace("{}", name.replace("_", " ")) for t in split.templates]
        features = backbone.model.encode_text(tokenizer(texts), normalize=True)  # type: ignore[operator]
        mean = features.mean(0)
        torch.testing.assert_close(net.frozen_text[i], mean / mean.norm(), atol=1e-4, rtol=0)
    one = config.build("few_shot", [*words[:2], "data.template=generic"])
    assert (
        data.load(one, backbone.transform).hashes["template_hash"] != split.hashes["template_hash"]
    )


def test_a_method_that_trains_the_text_tower_learns_with_an_ensemble() -> None:
    from harness import run

    words = ["method=lora", "data=digits", "shots=1", "data.val_shots=1", "train.epochs=4"]
    result = run.execute(config.build("few_shot", [*words, "data.template=imagenet_7"]))
    assert result.losses[-1] < result.losses[0]


# --- what is wrong ---------------------------------------------------------------------------

Break = Callable[[Path], str]  # makes a broken thing in a folder; returns the words after data=


def folder(change: Callable[[Path], object]) -> Break:
    def make(place: Path) -> str:
        root = class_folders(place / "p", images=4)
        change(root)
        return str(root)

    return make


def table_of(change: Callable[[pd.DataFrame], pd.DataFrame | None], suffix: str = ".csv") -> Break:
    def make(place: Path) -> str:
        frame = listed(place / "p")
        changed = change(frame)
        return str(write(frame if changed is None else changed, place / "p" / f"t{suffix}"))

    return make


def raw(name: str, content: bytes) -> Break:
    def make(place: Path) -> str:
        (place / name).write_bytes(content)
        return str(place / name)

    return make


def names_file(name: str, content: str | bytes, key: str = "classnames") -> Break:
    def make(place: Path) -> str:
        given = content.encode() if isinstance(content, str) else content
        (place / name).write_bytes(given)
        return f"{class_folders(place / 'p', images=4)} data.{key}={place / name}"

    return make


def set_cell(column: str, row: int, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame

    return change


def spoil(name: str, content: bytes) -> Break:
    return folder(lambda root: (root / "dog" / name).write_bytes(content))


def loose_and_empty(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()
    (root / "a.png").write_bytes(encoded(1))


def hide(root: Path) -> None:
    shutil.rmtree(root / "owl")
    (root / "owl").mkdir()


def only_heic(root: Path) -> None:
    hide(root)
    (root / "owl" / "IMG_1.HEIC").write_bytes(b"ftypheic")


def one_image(root: Path) -> None:
    for path in sorted((root / "owl").iterdir())[1:]:
        path.unlink()


def cut(size: int) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        path = root / "dog" / "001.png"
        path.write_bytes(path.read_bytes()[:size])

    return change


def dangle(root: Path) -> None:
    (root / "dog" / "link.png").symlink_to(root / "nowhere.png")


def pipe(root: Path) -> None:
    os.mkfifo(root / "dog" / "pipe.png")


def bomb() -> bytes:
    data = bytearray(encoded(1))
    data[16:24] = (60_000).to_bytes(4, "big") * 2  # the header now claims a huge picture
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


BROKEN: dict[str, tuple[Break, str]] = {
    # folders
    "no such folder": (lambda p: str(p / "none"), "unknown; known:"),
    "an empty folder": (lambda p: str(p), "no class folders; put the images of each class"),
    "images without class folders": (folder(loose_and_empty), "no class folders"),
    "one class": (
        folder(lambda r: [shutil.rmtree(r / n) for n in ("cat", "dog")]),
        "it has one class, 'owl'",
    ),
    "an empty class folder": (folder(hide), "owl: no images in this class folder"),
    "a class folder of HEIC": (folder(only_heic), "only files such as 'IMG_1.HEIC'"),
    "a class of one image": (folder(one_image), "class 'owl' has 1 image"),
    "a loose image": (
        folder(lambda r: (r / "new.jpg").write_bytes(encoded(1))),
        "new.jpg: lies beside the class folders",
    ),
    "split and class folders": (
        folder(lambda r: [(r / n).mkdir() for n in ("train", "test")]),
        "'cat' lies beside 'test'; move it away",
    ),
    "train and val without test": (
        lambda p: str(split_folders(p / "p", "train", "val")),
        "it has no test images; call the val images test",
    ),
    "test alone": (lambda p: str(split_folders(p / "p", "test")), "it has no train images"),
    "a class that is only tested": (
        lambda p: str(
            class_folders(split_folders(p / "p", "train", "test") / "test", ("yak",)).parent
        ),
        "data set 'p': class 'yak' has no training images",
    ),
    "two classes of one name in a prompt": (
        folder(lambda r: class_folders(r, ("big_cat", "big cat"), 4)),
        "two labels share the class name",
    ),
    "a class of underscores": (
        folder(lambda r: class_folders(r, ("\u00a0",), 4)),
        "give it a word",
    ),
    "a class name with a line break": (
        folder(lambda r: class_folders(r, ("a\nb",), 4)),
        "has signs that no text can hold",
    ),
    "a class name that is not UTF-8": (
        folder(lambda r: class_folders(r, (os.fsdecode(b"caf\xe9"),), 4)),
        "has signs that no text can hold",
    ),
    "a link to nowhere": (folder(dangle), "link.png: not a file but a broken link"),
    "a pipe": (folder(pipe), "pipe.png: not a file but a broken link or a device"),
    "an archive": (raw("p.zip", b"PK"), "is an archive; unpack it"),
    "a URL": (lambda p: "https://example.org/p", "is a URL; download it"),
    "a text file": (raw("p.txt", b"cat"), "is neither a folder nor"),
    # images
    "zero bytes": (folder(cut(0)), "dog/001.png (class 'dog') cannot be read: no bytes"),
    "a cut header": (folder(cut(20)), "dog/001.png (class 'dog') cannot be read"),
    "a cut image": (folder(cut(200)), "dog/001.png (class 'dog') cannot be read"),
    "text named png": (spoil("x.png", b"hello"), "dog/x.png (class 'dog') cannot be read: not an"),
    "a page named jpg": (spoil("x.jpg", b"<html>404</html>"), "x.jpg (class 'dog') cannot be read"),
    "HEIC named jpg": (spoil("x.jpg", b"\0\0\0\x18ftypheic" + bytes(50)), "cannot be read"),
    "a cut JPEG": (spoil("x.jpg", encoded(1, "JPEG", (200, 200))[:900]), "cannot be read: image"),
    "a bomb": (spoil("x.png", bomb()), "x.png (class 'dog') cannot be read"),
    "noise": (spoil("x.gif", bytes(range(256)) * 4), "x.gif (class 'dog') cannot be read"),
    # tables
    "no such table": (lambda p: str(p / "none.csv"), "none.csv: no such file"),
    "a folder called csv": (
        lambda p: (p / "d.csv").mkdir() or str(p / "d.csv"),  # type: ignore[func-returns-value]
        "no class folders",
    ),
    "an empty table": (raw("t.csv", b""), "not a readable CSV file"),
    "a header alone": (raw("t.csv", b"image,label\n"), "it holds no rows"),
    "no header": (raw("t.csv", b"a.png,cat\nb.png,dog\n"), "no column 'image'"),
    "ragged rows": (raw("t.csv", b"image,label\na.png,cat,1\n"), "not a readable CSV file"),
    "Latin-1": (raw("t.csv", "image,label\nb\xe4r.png,cat\n".encode("latin-1")), "not a readable"),
    "a spreadsheet": (raw("t.csv", b"PK\x03\x04" + bytes(range(256))), "t.csv: "),
    "half a Parquet": (raw("t.parquet", b"PAR1abc"), "not a readable Parquet file"),
    "no label": (table_of(lambda f: f.drop(columns="label")), "no column 'label'"),
    "an empty label": (table_of(set_cell("label", 2, "")), "column 'label' has empty cells"),
    "half numbers": (
        table_of(lambda f: f.assign(label=0.5)),
        "column 'label' must hold whole numbers or words, not double",
    ),
    "a label left out": (
        table_of(lambda f: f.assign(label=[0, 2] * (len(f) // 2))),
        "labels must count from 0 without gaps; 1 is missing",
    ),
    "a negative label": (
        table_of(lambda f: f.assign(label=[-1, 0] * (len(f) // 2))),
        "labels must count from 0 without gaps",
    ),
    "a missing image": (
        table_of(set_cell("image", 3, "cat/gone.png")),
        "row 3: cat/gone.png: no such file",
    ),
    "an empty path": (table_of(set_cell("image", 3, "")), "column 'image' has empty cells"),
    "a folder for an image": (table_of(set_cell("image", 3, "cat")), "row 3: cat: a folder"),
    "a URL for an image": (
        table_of(set_cell("image", 1, "https://example.org/a.png")),
        "row 1: https://example.org/a.png is a URL; download the images first",
    ),
    "a null in a path": (
        table_of(set_cell("image", 1, "a\0.png"), ".parquet"),
        "row 1: the path 'a\\x00.png' has a null character",
    ),
    "another word for a split": (table_of(set_cell("split", 0, "spare")), "split 'spare' is none"),
    "an empty split": (table_of(set_cell("split", 0, "")), "column 'split' has empty cells"),
    "no test rows": (table_of(lambda f: f.assign(split="train")), "it has no test images"),
    "two image columns": (
        table_of(lambda f: f.rename(columns={"image": "path"}).assign(file="a")),
        "could both be the image; keep one",
    ),
    "a name for two labels": (
        table_of(lambda f: f.assign(classname="cat")),
        "two labels share the class name 'cat'",
    ),
    "two names for a label": (
        table_of(lambda f: f.assign(classname=[str(i) for i in range(len(f))])),
        "label 0 is called both",
    ),
    "numbers for images": (
        table_of(lambda f: f.assign(image=1), ".parquet"),
        "column 'image' must hold the bytes of image files, or paths, not int64",
    ),
    # names and templates
    "too few names": (names_file("n.txt", "a\nb\n"), "2 names for the 3 classes of p"),
    "a name twice": (names_file("n.txt", "a\nb\na\n"), "two labels share the class name 'a'"),
    "a name for no class": (
        names_file("n.json", '{"owls": "x"}'),
        "class 'owls': unknown, did you mean 'owl'?",
    ),
    "names that are no JSON": (names_file("n.json", "[a"), "n.json: not JSON"),
    "names that are numbers": (names_file("n.json", "[1, 2, 3]"), "must hold a list of names"),
    "names that are no text": (names_file("n.txt", b"\xff\xfe\x00"), "not a text file in UTF-8"),
    "no names": (
        lambda p: f"{class_folders(p / 'p')} data.classnames={p / 'no.txt'}",
        "no.txt: no such file",
    ),
    "a template without a place": (
        names_file("t.txt", "a photo\n", "template"),
        "'a photo' has no {} for the class name",
    ),
    "no templates": (names_file("t.json", "[]", "template"), "must hold a list of texts"),
    "a template twice": (names_file("t.txt", "a {}\na {}\n", "template"), "stands there twice"),
    "an unknown template": (
        lambda p: f"{class_folders(p / 'p')} data.template=imagenet_8",
        "is neither a file nor one of default, coop, generic, imagenet_7, imagenet_80",
    ),
    # libraries
    "an unknown torchvision set": (lambda p: "torchvision:dtx", "unknown, did you mean 'dtd'?"),
    "one not fetched": (lambda p: "torchvision:dtd", "say `ringbench data fetch dtd --root data`"),
    "hf without a name": (lambda p: "hf:", "hf: needs a name"),
    "hf not on disk, no network": (lambda p: "hf:nobody/nothing", "hf:nobody/nothing: cannot be"),
}


def test_fifty_kinds_are_tried() -> None:
    assert len(BROKEN) >= 50


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_data_is_told_in_one_line(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    make, message = BROKEN[kind]
    words = make(tmp_path).split(" data.")
    given = [f"data={words[0]}", *(f"data.{word}" for word in words[1:])]
    run = ["run", "few_shot", "method=zero_shot", "shots=1", "data.val_shots=1", "-q", *given]
    assert cli.call(run) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert "Traceback" not in shown.err
    assert not list(own_home.glob("cache/**/*.npy"))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_one_line(tmp_path: Path, content: bytes) -> None:
    for name in ("t.csv", "t.parquet"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError) as told:
            tabular.read(tmp_path / name, "t", "{}")
        assert "\n" not in str(told.value)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=6))
def test_any_words_in_a_table_are_told_in_one_line(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    frame = pd.DataFrame(rows, columns=["image", "label"], dtype=str)
    try:
        frame.to_parquet(tmp_path / "t.parquet")
    except UnicodeEncodeError:
        return
    with pytest.raises(UsageError) as told:
        tabular.read(tmp_path / "t.parquet", "t", "{}")
    assert "\n" not in str(told.value)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]), st.data())
def test_a_flipped_byte_gives_pixels_or_a_reason(
    tmp_path: Path, kind: str, draw: st.DataObject
) -> None:
    from harness import decoding

    whole = bytearray(encoded(3, kind))
    for place in draw.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)):
        whole[place] ^= draw.draw(st.integers(1, 255))
    found = decoding.pixels([bytes(whole)], 0, backbones.load(BackboneSpec()).transform)
    if isinstance(found, str):
        assert found
        assert "\n" not in found
    else:
        assert found.shape == (3, 32, 32)
