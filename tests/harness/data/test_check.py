"""The data doctor: what is planted is found, what is not there is not."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.cli import main
from harness.data import check, decode, near_duplicates, registry, worker_pool
from tests.drawn_images import class_folders, encoded, photo, picture


@pytest.fixture(autouse=True)
def read_anew() -> None:
    registry._read.cache_clear()


@pytest.fixture
def split_set(tmp_path: Path) -> Path:
    """Pictures in train and test folders, all different."""
    for i, part in enumerate(("train", "test")):
        class_folders(tmp_path / "p" / part, images=4, seed=10 * i)
    return tmp_path / "p"


def found(root: Path, shots: int = 0) -> dict[str, check.Finding]:
    return {f.what: f for f in check.check_dataset(str(root), shots=shots).findings}


def test_a_good_data_set_is_good(split_set: Path) -> None:
    seen = check.check_dataset(str(split_set))
    assert (seen.state, seen.findings) == ("good", ())
    assert seen.counts == {"train": 12, "val": 0, "test": 12}
    assert seen.digest == registry.read_dataset(str(split_set)).digest


def save(path: Path, image: Image.Image, **how: object) -> None:
    image.save(path, **how)  # type: ignore[arg-type]


def test_what_is_planted_is_found(split_set: Path) -> None:
    cat, owl = split_set / "train" / "cat", split_set / "test" / "owl"
    (cat / "empty.png").write_bytes(b"")
    (cat / "cut.png").write_bytes(encoded(50)[:90])
    (cat / "photo.jpg").write_bytes(encoded(51))
    (cat / "notes.txt").write_text("mine")
    (owl / "leak.png").write_bytes((cat / "000.png").read_bytes())
    shutil.copy(cat / "001.png", cat / "again.png")
    (split_set / "train" / "dog" / "cat.png").write_bytes((cat / "002.png").read_bytes())
    deep = Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 100)
    save(cat / "deep.png", deep)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(cat / "phone.jpg", picture(60), exif=exif)
    save(cat / "moving.gif", picture(61), save_all=True, append_images=[picture(62)])
    save(cat / "tiny.png", picture(63, (8, 30)))
    class_folders(split_set / "train", ("yak", "Cat"), images=1, seed=40)
    class_folders(split_set / "test", ("7",), images=1, seed=50)
    seen = found(split_set, shots=4)
    expected = {
        "files of zero bytes": ("problem", 1, "cat/empty.png"),
        "images that cannot be read": ("problem", 1, "cat/cut.png: "),
        "images in test and in train or val": ("problem", 1, "cat/000.png"),
        "images under two labels": ("problem", 2, "dog/cat.png"),
        "classes without training images": ("problem", 1, "7"),
        "images with the name of another format": ("note", 1, "photo.jpg is PNG"),
        "files that are no images by their name": ("note", 1, "cat/notes.txt"),
        "images twice in one split": ("note", 1, "cat/again.png"),
        "images of 16 bits, white above 255": ("problem", 1, "cat/deep.png"),
        "images turned by their EXIF tag, which is not read": ("note", 1, "cat/phone.jpg"),
        "moving images, of which the first is read": ("note", 1, "cat/moving.gif"),
        "images smaller than 16 pixels": ("note", 1, "cat/tiny.png"),
        "classes without test images": ("note", 2, "yak"),
        "classes with fewer than 4 training images": ("note", 2, "yak: 1"),
        "class names that differ only in capitals": ("note", 2, "Cat"),
        "class names that are numbers": ("note", 1, "7"),
    }
    for what, (level, count, example) in expected.items():
        assert what in seen, what
        assert (seen[what].level, seen[what].count) == (level, count), what
        assert any(example in text for text in seen[what].examples), what
    assert set(seen) - set(expected) <= {"test images that look like one of train or val"}


def test_a_test_image_that_was_only_saved_again_is_noticed(split_set: Path) -> None:
    for seed in range(8):
        photo(seed).save(split_set / "train" / "dog" / f"photo{seed}.png")
        again = photo(seed).resize((100, 75))
        save(split_set / "test" / "dog" / f"again{seed}.jpg", again, quality=70)
        photo(100 + seed).save(split_set / "test" / "owl" / f"other{seed}.png")
    seen = found(split_set)["test images that look like one of train or val"]
    assert (seen.level, seen.count) == ("note", 8)
    for seed, text in enumerate(seen.examples):
        one, other = text.split(" ~ ")
        assert one.endswith(f"dog/photo{seed}.png")
        assert other.endswith(f"dog/again{seed}.jpg")


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.integers(0, 40), st.integers(0, 2**64 - 1), max_size=12),
    st.dictionaries(st.integers(50, 90), st.integers(0, 2**64 - 1), max_size=12),
    st.integers(0, 6),
    st.lists(
        st.tuples(st.integers(0, 11), st.integers(0, 11), st.integers(0, 2**64 - 1)), max_size=6
    ),
)
def test_no_near_pair_is_missed(
    ones: dict[int, int],
    others: dict[int, int],
    within: int,
    planted: list[tuple[int, int, int]],
) -> None:
    for i, j, noise in planted:  # random hashes are far apart: bring some together
        if ones and others:
            near = list(ones.values())[i % len(ones)] ^ (
                noise & (noise >> 1) & (noise >> 2) & 0x1111
            )
            others[list(others)[j % len(others)]] = near
    expected = [
        (a, b, bin(x ^ y).count("1"))
        for a, x in ones.items()
        for b, y in others.items()
        if bin(x ^ y).count("1") <= within
    ]
    got = [(p.one, p.other, p.distance) for p in near_duplicates.near_pairs(ones, others, within)]
    assert got == sorted(expected)


def test_pictures_of_one_colour_are_not_alike() -> None:
    assert near_duplicates.perceptual_hash(Image.new("RGB", (40, 40), "red")) is None
    assert near_duplicates.perceptual_hash(picture(1)) is not None


def test_processes_see_what_one_process_sees(
    split_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(split_set / "train/cat/000.png", split_set / "test/cat/leak.png")
    alone = check.check_dataset(str(split_set))
    monkeypatch.setattr(worker_pool, "worker_count", lambda: 2)
    monkeypatch.setattr(check, "FEW", 1)
    monkeypatch.setattr(check, "CHUNK", 5)
    assert check.check_dataset(str(split_set)) == alone


def test_counts_other_than_expected_are_a_problem(split_set: Path) -> None:
    table = registry.read_dataset(str(split_set))
    seen = check.check_table(table, {"classes": 3, "train": 13, "test": 12}, 0, images=False)
    assert seen.state == "problems"
    assert seen.findings[0].examples == ("13 train expected, 12 found",)


def test_the_command_says_it_as_a_table_as_json_and_by_its_exit_code(
    split_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(["data", "check", str(split_set)]) == 0
    assert "good" in capsys.readouterr().out
    (split_set / "test/cat/empty.png").write_bytes(b"")
    registry._read.cache_clear()
    assert main.call(["data", "check", str(split_set)]) == 1
    shown = capsys.readouterr().out
    assert "files of zero bytes" in shown
    assert "empty.png" in shown
    assert main.call(["data", "check", str(split_set), "digits", "--json"]) == 1
    mine, digits = json.loads(capsys.readouterr().out)
    assert (mine["state"], mine["findings"][0]["what"]) == ("problems", "files of zero bytes")
    assert digits["counts"]["test"] == registry.describe_set("digits")["test"]
    assert main.call(["data", "check", str(split_set / "none"), "--json"]) == 1
    (lost,) = json.loads(capsys.readouterr().out)
    assert "unknown" in lost["findings"][0]["what"]


def test_without_names_everything_known_is_counted(
    public: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    for name in ("dtd", "eurosat"):
        shutil.copytree(public / name, root / name)
    next((root / "eurosat").rglob("*.jpg")).unlink()
    words = ["data", "check", "--root", str(root)]
    assert main.call([*words, "--json"]) == 1  # a part of eurosat is missing
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(registry.known_names())
    states = {row["name"]: row["state"] for row in rows}
    assert (states["dtd"], states["eurosat"], states["ucf101"]) == ("good", "problems", "absent")
    assert all(states[name] in ("good", "notes") for name in registry.embedded_names())
    assert main.call(words) == 1
    assert "absent: nothing of it under --root" in capsys.readouterr().err


def test_a_collection_and_an_alias_are_checked_set_by_set(
    public: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(["data", "check", "shift4", "pets", "--json", "--quick"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert names == [*registry.set_collections()["shift4"], "oxford_pets"]


def test_any_image_is_looked_at_without_a_crash() -> None:
    for data in (b"", b"x", encoded(1)[:50], encoded(1), encoded(2, "WEBP"), encoded(2, "TIFF")):
        (seen,) = check.inspect_images([data])
        assert bool(seen.error) == isinstance(_pixels(data), str)


def _pixels(data: bytes) -> object:
    from harness.model import backbone
    from harness.spec.spec import BackboneSpec

    return decode.decode_pixels([data], 0, backbone.load_backbone(BackboneSpec()).transform)


def test_every_mode_of_pillow_is_hashed() -> None:
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F"):
        buffer = io.BytesIO()
        picture(4, mode="L").convert(mode).save(buffer, "TIFF")
        (seen,) = check.inspect_images([buffer.getvalue()])
        assert seen.error == "", mode
