"""Data sets of other libraries: Hugging Face sets from disk, torchvision's from a real download."""

import bz2
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets as hf
import numpy as np
import pytest
import torchvision
from PIL import Image

from harness.cli import main
from harness.data import registry
from harness.data.readers.torchvision import KNOWN, fetch_set
from methods.kit.core.errors import UsageError
from tests.drawn_images import encoded, picture


@pytest.fixture(autouse=True)
def read_anew() -> None:
    registry._read.cache_clear()


# --- Hugging Face ----------------------------------------------------------------------------


def rows(labels: list[int], column: str = "image") -> hf.Dataset:
    features = hf.Features({column: hf.Image(), "label": hf.ClassLabel(names=["cat", "dog"])})
    cells = [
        {"bytes": encoded(i + 100 * max(labels[0], 0)), "path": None} for i in range(len(labels))
    ]
    return hf.Dataset.from_dict({column: cells, "label": labels}, features)


def test_splits_and_names_are_those_of_the_set(tmp_path: Path) -> None:
    parts = {"train": rows([0, 1, 0, 1]), "validation": rows([1, 0]), "test": rows([1, 1, 0])}
    hf.DatasetDict(parts).save_to_disk(tmp_path / "set")
    table = registry.read_dataset(f"hf:{tmp_path / 'set'}")
    assert table.classnames == ("cat", "dog")
    assert [len(table.rows(part)) for part in ("train", "val", "test")] == [4, 2, 3]
    assert table.labels[table.rows("test")].tolist() == [1, 1, 0]
    assert table.images[int(table.rows("val")[1])] == encoded(101)


def test_a_test_split_without_labels_is_not_tested(tmp_path: Path) -> None:
    parts = {"train": rows([0, 1, 0, 1]), "validation": rows([1, 0]), "test": rows([-1, -1])}
    hf.DatasetDict(parts).save_to_disk(tmp_path / "set")
    table = registry.read_dataset(f"hf:{tmp_path / 'set'}")
    assert [len(table.rows(part)) for part in ("train", "val", "test")] == [4, 0, 2]


def test_one_set_without_splits_is_held_out_from(tmp_path: Path) -> None:
    rows([0] * 10 + [1] * 10, "photo").save_to_disk(tmp_path / "set")
    table = registry.read_dataset(f"hf:{tmp_path / 'set'}")
    assert np.bincount(table.labels[table.rows("test")]).tolist() == [3, 3]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [0, 1]}, "no column holds an image"),
        ({"image": [{"bytes": encoded(1)}] * 2, "x": [0, 1]}, "no column holds a label"),
        ({"image": [{"bytes": encoded(1)}] * 2, "label": [0.5, 1]}, "whole numbers or words"),
        ({"image": [{"bytes": encoded(1)}] * 2, "label": ["a", "a"]}, "it has one class"),
    ],
)
def test_what_is_wrong_with_a_set_is_said(
    columns: dict[str, list[object]], message: str, tmp_path: Path
) -> None:
    made = hf.Dataset.from_dict(columns)
    if "image" in columns:
        made = made.cast_column("image", hf.Image())
    made.save_to_disk(tmp_path / "set")
    with pytest.raises(UsageError, match=message):
        registry.read_dataset(f"hf:{tmp_path / 'set'}")


# --- torchvision -----------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and its address on a server of this machine."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def dtd_archive(path: Path) -> None:
    """DTD as it is packed: images by class, three lists a partition."""
    with tarfile.open(path, "w:gz") as archive:

        def add(name: str, content: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

        for i, part in enumerate(("train", "val", "test")):
            names = [f"{c}/{c}_{part}.jpg" for c in ("banded", "dotted")]
            add(f"dtd/labels/{part}1.txt", "\n".join(names).encode())
            for j, name in enumerate(names):
                add(f"dtd/images/{name}", encoded(10 * i + j, "JPEG"))


def test_a_set_of_files_is_fetched_into_a_table_of_paths(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    dtd_archive(folder / "dtd.tar.gz")
    kind = torchvision.datasets.DTD
    monkeypatch.setattr(kind, "_URL", f"{address}/dtd.tar.gz")
    monkeypatch.setattr(kind, "_MD5", md5(folder / "dtd.tar.gz"))
    root = tmp_path / "data"
    assert main.call(["data", "fetch", "dtd", "--root", str(root), "-q"]) == 0
    monkeypatch.setenv("RINGBENCH_DATA", str(root))
    table = registry.read_dataset("torchvision:dtd")
    assert table.classnames == ("banded", "dotted")
    assert [len(table.rows(part)) for part in ("train", "val", "test")] == [2, 2, 2]
    (row, _) = table.rows("val").tolist()
    assert table.images[row] == encoded(10, "JPEG")
    assert main.call(["data", "check", "torchvision:dtd"]) == 0


def test_a_set_of_arrays_is_fetched_into_images(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    lists = {}
    for i, part in enumerate(("train", "test")):
        grey = np.asarray(picture(i, (16, 16), "L"), dtype=float)
        cells = " ".join(f"{k + 1}:{v / 127.5 - 1:.6f}" for k, v in enumerate(grey.flatten()))
        lines = [f"{label} {cells}" for label in (1, 2, 2)]
        (folder / f"{part}.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))
        lists[part] = [f"{address}/{part}.bz2", f"{part}.bz2", md5(folder / f"{part}.bz2")]
    monkeypatch.setattr(torchvision.datasets.USPS, "split_list", lists)
    path = fetch_set("usps", tmp_path)
    assert path == tmp_path / "torchvision" / "usps.parquet"
    table = registry.read_dataset(str(path))
    assert table.classnames == ("0", "1")
    assert [len(table.rows(part)) for part in ("train", "test")] == [3, 3]
    expected = np.asarray(picture(1, (16, 16), "L"), dtype=int)
    found = np.asarray(Image.open(io.BytesIO(table.images[4])).convert("L"), dtype=int)
    assert abs(found - expected).max() <= 1


@pytest.mark.parametrize("answer", [b"", b"not an archive"])
def test_a_download_that_fails_leaves_no_table_and_one_line(
    answer: bytes,
    served: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, address = served
    if answer:
        (folder / "dtd.tar.gz").write_bytes(answer)
    monkeypatch.setattr(torchvision.datasets.DTD, "_URL", f"{address}/dtd.tar.gz")
    assert main.call(["data", "fetch", "dtd", "--root", str(tmp_path / "d"), "-q"]) == 2
    told = capsys.readouterr().err
    assert told.splitlines()[-1].startswith("ringbench: data fetch dtd: ")
    assert "Traceback" not in told
    assert not list((tmp_path / "d" / "torchvision").iterdir())


def test_an_unknown_set_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["data", "fetch", "oxford_pet"]) == 2
    assert "did you mean 'oxford_pets'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_set_is_one_of_torchvisions(name: str) -> None:
    import inspect

    kind, splits = KNOWN[name]
    arguments = inspect.signature(getattr(torchvision.datasets, kind)).parameters
    for given in splits.values():
        assert set(given) <= set(arguments)
    assert "download" in arguments
