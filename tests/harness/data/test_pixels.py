"""Decoded pixels: three places, the same bytes; nothing half-written; a limit that holds."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from harness.cli import main
from harness.data import decode, decoded_rows, pixel_cache, pixels, registry, split, worker_pool
from harness.data.dataset import Dataset
from harness.data.split import load_split
from harness.data.transform import Transform
from harness.model import backbone
from harness.run import config, execute
from harness.spec.spec import BackboneSpec
from methods.kit.core.errors import UsageError
from tests.drawn_images import class_folders, encoded, picture


@pytest.fixture
def transform() -> Transform:
    return backbone.load_backbone(BackboneSpec()).transform


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left in the process from other tests."""
    monkeypatch.setattr(decoded_rows, "_kept", type(decoded_rows._kept)())


@pytest.fixture
def table(tmp_path: Path) -> Dataset:
    return registry.read_dataset(str(class_folders(tmp_path / "pets")))


def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_rows, "MEMORY_BYTES", 0)
    decoded_rows._kept.clear()


def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk(monkeypatch)
    monkeypatch.setenv("RINGBENCH_CACHE_GB", "0")
    monkeypatch.setattr(pixels, "HELD_BYTES", 0)


def plain(table: Dataset, transform: Transform, rows: list[int]) -> torch.Tensor:
    """What open_clip's preprocessing makes of the rows, without our code."""
    theirs = open_clip.image_transform(
        transform.size, is_train=False, mean=(0, 0, 0), std=(1, 1, 1)
    )
    assert table.folder is not None
    made = [theirs(Image.open(table.folder / table.paths[row])) for row in rows]
    return torch.stack(made)


def whole(found: pixels.Pixels) -> torch.Tensor:
    return torch.cat(list(found.split(5)))


def test_memory_file_and_stream_give_the_bytes_that_open_clip_gives(
    table: Dataset, transform: Transform, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [17, 3, 3, 20, 0, 11]
    memory = decoded_rows.decode_rows(table, transform, rows)
    on_disk(monkeypatch)
    mapped = decoded_rows.decode_rows(table, transform, rows)
    streamed(monkeypatch)
    stream = decoded_rows.decode_rows(table, transform, rows)
    assert isinstance(memory, torch.Tensor)
    assert isinstance(mapped, pixels.MappedPixels)
    assert isinstance(stream, pixels.StreamedPixels)
    assert len(mapped) == len(stream) == 6
    assert mapped.nbytes == stream.nbytes == memory.nbytes
    assert torch.equal(memory, whole(mapped))
    assert torch.equal(memory, whole(stream))
    torch.testing.assert_close(memory / 255, plain(table, transform, rows), atol=1e-6, rtol=0)
    picked = torch.tensor([5, 1])
    for found in (memory, mapped, stream):
        assert torch.equal(found[picked], memory[[5, 1]])
        (one,) = pixels.pixel_batches(found, [picked])
        assert torch.equal(one, memory[[5, 1]])
    assert torch.equal(whole(stream.take([2, 0])), whole(mapped.take([2, 0])))


def test_worker_processes_give_what_one_process_gives(
    table: Dataset, transform: Transform, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list(range(24))
    alone = decoded_rows.decode_rows(table, transform, rows)
    monkeypatch.setattr(worker_pool, "worker_count", lambda: 2)
    monkeypatch.setattr(decode, "FEW", 1)
    monkeypatch.setattr(decode, "CHUNK", 5)
    on_disk(monkeypatch)
    assert torch.equal(alone, whole(decoded_rows.decode_rows(table, transform, rows)))
    streamed(monkeypatch)
    assert torch.equal(alone, whole(decoded_rows.decode_rows(table, transform, rows)))


@pytest.mark.parametrize("augment", ["none", "crop_flip"])
def test_a_run_gives_the_same_numbers_wherever_its_pixels_are(
    augment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["method=lora", f"data={class_folders(tmp_path / 'pets')}", "shots=2"]
    words += ["data.val_shots=1", "train.epochs=2", f"train.augment={augment}"]
    spec = config.build("few_shot", words)
    first = execute.execute(spec)
    for place in (on_disk, streamed):
        place(monkeypatch)
        again = execute.execute(spec)
        assert again.losses == first.losses
        for mine, theirs in zip(again.predictions, first.predictions, strict=True):
            assert np.array_equal(mine.p_label, theirs.p_label)
        assert again.tags["transform_hash"] == first.tags["transform_hash"]


SIZES = [(40, 64), (64, 40), (224, 224), (300, 100), (28, 28), (500, 333)]


@pytest.mark.parametrize("side", [32, 224])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_evaluation_transform_is_open_clips_within_a_grey_level(mode: str, side: int) -> None:
    mine = backbone._transform((side, side), {})
    theirs = open_clip.image_transform((side, side), is_train=False)
    for seed, size in enumerate(SIZES):
        image = picture(seed, size, mode)
        found = torch.from_numpy(mine.pixels(image)).permute(2, 0, 1)[None]
        gap = (mine.normalise(found)[0] - theirs(image)) * torch.tensor(mine.std)[:, None, None]
        assert float(gap.abs().max()) <= 1 / 255 + 1e-6


def test_other_preprocessing_has_another_fingerprint() -> None:
    settings: list[dict[str, Any]] = [
        {},
        {"interpolation": "bilinear"},
        {"resize_mode": "squash"},
        {"mean": (0.5, 0.5, 0.5)},
    ]
    digests = {backbone._transform((32, 32), given).digest() for given in settings}
    digests.add(backbone._transform((64, 64), {}).digest())
    assert len(digests) == 5


# --- the cache -------------------------------------------------------------------------------


def test_a_file_is_made_once_and_found_by_its_content(
    tmp_path: Path, transform: Transform, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk(monkeypatch)
    one = registry.read_dataset(str(class_folders(tmp_path / "a")))
    decoded_rows.decode_rows(one, transform, [0])
    (entry,) = pixel_cache.cached_files()
    assert entry.about["images"] == 24
    before = entry.path.stat().st_ino
    decoded_rows._kept.clear()
    same = registry.read_dataset(str(class_folders(tmp_path / "b")))
    decoded_rows.decode_rows(same, transform, [3])
    assert [e.path.stat().st_ino for e in pixel_cache.cached_files()] == [before]
    other = registry.read_dataset(str(class_folders(tmp_path / "c", seed=9)))
    decoded_rows.decode_rows(other, transform, [3])
    assert len(pixel_cache.cached_files()) == 2


def test_a_small_data_set_writes_nothing(
    table: Dataset, transform: Transform, own_home: Path
) -> None:
    decoded_rows.decode_rows(table, transform, [0])
    assert not own_home.exists()


def test_a_damaged_file_is_made_again(
    table: Dataset, transform: Transform, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk(monkeypatch)
    first = whole(decoded_rows.decode_rows(table, transform, list(range(24))))
    (entry,) = pixel_cache.cached_files()
    os.truncate(entry.path, entry.bytes // 2)
    assert pixel_cache.cached_files() == []
    decoded_rows._kept.clear()
    assert torch.equal(first, whole(decoded_rows.decode_rows(table, transform, list(range(24)))))


def test_the_least_recently_used_go_when_the_limit_is_reached(
    tmp_path: Path, transform: Transform, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk(monkeypatch)
    size = 24 * 3 * 32 * 32
    monkeypatch.setenv("RINGBENCH_CACHE_GB", str(2.5 * size / 1e9))
    tables = [
        registry.read_dataset(str(class_folders(tmp_path / n, seed=10 * i)))
        for i, n in enumerate("abc")
    ]
    for age, one in enumerate(tables[:2]):
        decoded_rows.decode_rows(one, transform, [0])
        os.utime(pixel_cache.cached_files()[0].path, (age, age + 1))
    decoded_rows._kept.clear()
    decoded_rows.decode_rows(tables[0], transform, [0])  # used again: now b is the oldest
    decoded_rows.decode_rows(tables[2], transform, [0])
    assert [e.about["name"] for e in pixel_cache.cached_files()] == ["c", "a"]


def test_larger_sets_are_decoded_by_what_a_run_needs(
    table: Dataset, transform: Transform, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk(monkeypatch)
    monkeypatch.setattr(decoded_rows, "WHOLE_BYTES", 0)
    test = table.rows("test").tolist()
    train = table.rows("train").tolist()[:4]
    decoded_rows.decode_rows(table, transform, test[:2])
    decoded_rows.decode_rows(table, transform, test[2:])
    decoded_rows.decode_rows(table, transform, train)
    assert sorted(e.about["images"] for e in pixel_cache.cached_files()) == sorted([len(test), 4])


BUILD = """
import sys, time
from harness.data import decode, decoded_rows, registry, worker_pool
from harness.model.backbone import load_backbone
from harness.spec.spec import BackboneSpec
decoded_rows.MEMORY_BYTES = 0
worker_pool.worker_count = lambda: 2
decode.FEW, decode.CHUNK = 0, 4
table = registry.read_dataset(sys.argv[1])
transform = load_backbone(BackboneSpec()).transform
real = decode.decode_pixels
decode.decode_pixels = lambda *a: (time.sleep(0.2), real(*a))[1]
print("building", flush=True)
decoded_rows.decode_rows(table, transform, list(range(len(table.images))))
"""


def test_kill_9_while_a_file_is_made_leaves_nothing_that_is_read(
    tmp_path: Path, own_home: Path, transform: Transform, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path / "pets", images=20)
    folder = own_home / "cache" / "pixels"
    with subprocess.Popen(
        [sys.executable, "-c", BUILD, str(root)], stdout=subprocess.PIPE, text=True
    ) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "building\n"
        while not list(folder.glob("*.part")):
            time.sleep(0.05)
        time.sleep(1.0)
        children = Path(f"/proc/{builder.pid}/task/{builder.pid}/children").read_text().split()
        builder.send_signal(signal.SIGKILL)
    assert len(children) == 2
    assert list(folder.glob("*.npy")) == []
    assert len(list(folder.glob("*.part"))) == 1
    assert pixel_cache.cached_files() == []
    for child in children:  # no worker outlives the process that wanted its work
        deadline = time.monotonic() + 60
        while _alive(child) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _alive(child)
    table = registry.read_dataset(str(root))
    rows = list(range(len(table.images)))
    fresh = decoded_rows.decode_rows(table, transform, rows)
    monkeypatch.setattr(worker_pool, "worker_count", lambda: 2)
    monkeypatch.setattr(decode, "FEW", 0)
    on_disk(monkeypatch)
    assert torch.equal(whole(decoded_rows.decode_rows(table, transform, rows)), fresh)
    assert len(pixel_cache.cached_files()) == 1
    assert list(folder.glob("*.part")) == []


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_dead_process_left_goes_with_the_next_one(
    table: Dataset, transform: Transform, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk(monkeypatch)
    folder = own_home / "cache" / "pixels"
    folder.mkdir(parents=True)
    (folder / "0123.part").write_bytes(b"half")
    decoded_rows.decode_rows(table, transform, [0])
    assert not (folder / "0123.part").exists()


def test_the_cache_is_listed_and_cleared(
    table: Dataset,
    transform: Transform,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.call(["cache", "ls"]) == 0
    on_disk(monkeypatch)
    decoded_rows.decode_rows(table, transform, [0])
    capsys.readouterr()
    assert main.call(["cache", "ls", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["images"], row["size"]) == ("pets", 24, [32, 32])
    assert main.call(["cache", "ls"]) == 0
    assert "pets" in capsys.readouterr().out
    assert main.call(["cache", "clear", "nothing"]) == 2
    assert "cache entry 'nothing': unknown" in capsys.readouterr().err
    assert main.call(["cache", "clear", row["key"][:6]]) == 0
    assert "removed 1 files" in capsys.readouterr().err
    assert pixel_cache.cached_files() == []


@pytest.mark.parametrize("wrong", ["much", "-1", "nan"])
def test_a_limit_that_is_no_number_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBENCH_CACHE_GB", wrong)
    with pytest.raises(UsageError, match="RINGBENCH_CACHE_GB: expected a number of gigabytes"):
        pixel_cache.size_limit()


# --- images that cannot be read --------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Folders where one training and one test image are broken."""
    for i, part in enumerate(("train", "test")):
        class_folders(tmp_path / "pets" / part, images=4, seed=10 * i)
        path = tmp_path / "pets" / part / "dog" / "001.png"
        path.write_bytes(path.read_bytes()[:60])
    return tmp_path / "pets"


WORDS = ["method=zero_shot", "shots=1", "data.val_shots=1"]


@pytest.mark.parametrize("place", [lambda m: None, on_disk, streamed])
def test_a_corrupt_image_stops_a_run_before_it_trains(
    place: Any, damaged: Path, monkeypatch: pytest.MonkeyPatch, transform: Transform
) -> None:
    place(monkeypatch)
    spec = config.build("few_shot", [*WORDS, f"data={damaged}"])
    with pytest.raises(UsageError, match=r"pets/.*\.png .* cannot be read: .*skip_corrupt") as told:
        split.load_split(spec, transform)
    assert "\n" not in str(told.value)


def test_corrupt_images_are_left_out_when_asked_and_recorded(
    damaged: Path, monkeypatch: pytest.MonkeyPatch, transform: Transform
) -> None:
    spec = config.build("few_shot", [*WORDS, f"data={damaged}", "data.skip_corrupt=true"])
    table = registry.read_dataset(str(damaged))
    bad = [r for r in range(24) if len((damaged / table.paths[r]).read_bytes()) == 60]
    splits = []
    for place in (lambda m: None, on_disk, streamed):
        place(monkeypatch)
        split = load_split(spec, transform)
        split.held_out.close_selection()
        (test,) = split.held_out.open()
        assert set(bad) & set(table.rows("test"))
        assert set(test.ids) == set(table.rows("test").tolist()) - set(bad)
        assert not set(split.train.ids) & set(bad)
        assert split.hashes["skipped"].startswith("2: ")
        assert all(table.where(row) in split.hashes["skipped"] for row in bad)
        assert split.hashes["data_hash"] != table.digest
        splits.append((split.train.ids, test.ids, split.hashes))
    assert splits[0] == splits[1] == splits[2]


def test_a_file_that_goes_away_is_named(table: Dataset, transform: Transform) -> None:
    assert table.folder is not None
    (table.folder / table.paths[4]).unlink()
    with pytest.raises(UsageError, match=table.paths[4]):
        decoded_rows.decode_rows(table, transform, [0])


def test_a_picture_that_was_changed_is_another_data_set(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "pets")
    first = registry.read_dataset(str(root)).digest
    (root / "cat" / "000.png").write_bytes(encoded(99))
    registry._read.cache_clear()
    assert registry.read_dataset(str(root)).digest != first
