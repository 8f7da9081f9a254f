"""Broken data of every kind is told in one line that says what to do."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets as hf
import pandas as pd
import pytest
from huggingface_hub import constants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cli import main
from harness.data import registry
from harness.data.readers import huggingface, table_file
from harness.model import backbone
from harness.spec.spec import BackboneSpec
from methods.kit.core.errors import UsageError
from tests.drawn_images import class_folders, encoded, listed, split_folders, write


@pytest.fixture(autouse=True)
def read_anew() -> None:
    registry._read.cache_clear()


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
        "has unprintable characters",
    ),
    "a class name that is not UTF-8": (
        folder(lambda r: class_folders(r, (os.fsdecode(b"caf\xe9"),), 4)),
        "has unprintable characters",
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
    "a template twice": (names_file("t.txt", "a {}\na {}\n", "template"), "is given twice"),
    "an unknown template": (
        lambda p: f"{class_folders(p / 'p')} data.template=imagenet_8",
        "is neither a file nor one of default, coop, generic, imagenet_7, imagenet_80",
    ),
    # libraries
    "an unknown torchvision set": (lambda p: "torchvision:dtx", "unknown, did you mean 'dtd'?"),
    "one not fetched": (lambda p: "torchvision:dtd", "run `ringbench data fetch dtd --root data`"),
    "hf without a name": (lambda p: "hf:", "hf: needs a name"),
    "hf not on disk, no network": (lambda p: "hf:nobody/nothing", "hf:nobody/nothing: cannot be"),
}


def test_fifty_kinds_are_tried() -> None:
    assert len(BROKEN) >= 50


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_data_is_told_in_one_line(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    make, message = BROKEN[kind]
    if "cannot be read" in message:  # the ledger is opened before images are
        request.getfixturevalue("home")
    words = make(tmp_path).split(" data.")
    given = [f"data={words[0]}", *(f"data.{word}" for word in words[1:])]
    run = ["run", "few_shot", "method=zero_shot", "shots=1", "data.val_shots=1", "-q", *given]
    assert main.call(run) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert "Traceback" not in shown.err
    assert not list(tmp_path.glob("runs/cache/**/*.npy"))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_one_line(tmp_path: Path, content: bytes) -> None:
    for name in ("t.csv", "t.parquet"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError) as told:
            table_file.read(tmp_path / name, "t", "{}")
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
        table_file.read(tmp_path / "t.parquet", "t", "{}")
    assert "\n" not in str(told.value)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]), st.data())
def test_a_flipped_byte_gives_pixels_or_a_reason(
    tmp_path: Path, kind: str, draw: st.DataObject
) -> None:
    from harness.data import decode

    whole = bytearray(encoded(3, kind))
    for place in draw.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)):
        whole[place] ^= draw.draw(st.integers(1, 255))
    found = decode.decode_pixels(
        [bytes(whole)], 0, backbone.load_backbone(BackboneSpec()).transform
    )
    if isinstance(found, str):
        assert found
        assert "\n" not in found
    else:
        assert found.shape == (3, 32, 32)


@pytest.mark.parametrize("there", [True, False])
def test_a_hub_without_an_address_is_not_asked_again_and_again(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []

    def flags() -> tuple[bool, bool]:
        return constants.HF_HUB_OFFLINE, hf.config.HF_HUB_OFFLINE

    def load(*words: object) -> None:
        seen.append(flags())
        raise ConnectionError("nobody is there")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hf.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hf, "load_dataset", load)
    monkeypatch.setattr(huggingface, "getproxies", dict)
    monkeypatch.setattr(huggingface, "_resolves", lambda host: there)
    with pytest.raises(UsageError, match="hf:nobody/nothing: cannot be loaded: nobody is there"):
        huggingface.read("hf:nobody/nothing")
    assert seen == [(not there, not there)]
    assert flags() == (False, False)
