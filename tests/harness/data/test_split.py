"""Reading data sets: what is right is read once, what is wrong is said in one line."""

import io
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.data import registry, split
from harness.data.readers import table_file
from harness.data.split import load_split
from harness.model import backbone
from harness.model.backbone import load_backbone
from harness.run import config
from harness.spec.spec import BackboneSpec
from methods.kit.core.errors import UsageError


def png(shade: int, size: tuple[int, int] = (20, 14)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, 100, 255 - shade)).save(buffer, "PNG")
    return buffer.getvalue()


def columns(classes: int = 3, train: int = 4, test: int = 2) -> dict[str, list[Any]]:
    """A small correct data set, column by column."""
    labels = [c for c in range(classes) for _ in range(train + test)]
    return {
        "image": [png(i % 250) for i in range(len(labels))],
        "label": labels,
        "classname": [f"thing {c}" for c in labels],
        "domain": ["drawn"] * len(labels),
        "split": (["train"] * train + ["test"] * test) * classes,
    }


def write(path: Path, table: dict[str, list[Any]]) -> Path:
    pq.write_table(pa.table(table), path)
    return path


def read(path: Path) -> Any:
    return table_file.read(path, "t", "a photo of a {}.")


def test_a_file_becomes_a_table(tmp_path: Path) -> None:
    table = read(write(tmp_path / "t.parquet", columns()))
    assert table.classnames == ("thing 0", "thing 1", "thing 2")
    assert table.rows("train").tolist()[:5] == [0, 1, 2, 3, 6]
    assert len(table.rows("test")) == 6


def test_the_hash_is_of_the_content_not_of_the_file(tmp_path: Path) -> None:
    table = pa.table(columns())
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd")
    pq.write_table(table, tmp_path / "b.parquet", row_group_size=2)
    assert read(tmp_path / "a.parquet").digest == read(tmp_path / "b.parquet").digest
    changed = columns()
    changed["image"][3] = png(251)
    assert (
        read(write(tmp_path / "c.parquet", changed)).digest != read(tmp_path / "a.parquet").digest
    )


def test_the_image_type_of_hugging_face_is_read(tmp_path: Path) -> None:
    table = columns()
    table["image"] = [{"bytes": b, "path": None} for b in table["image"]]
    assert read(write(tmp_path / "t.parquet", table)).images[0] == columns()["image"][0]


def change(column: str, row: int, value: Any) -> Any:
    def apply(table: dict[str, list[Any]]) -> None:
        table[column][row] = value

    return apply


BROKEN = {
    "no column 'image'": lambda t: t.pop("image"),
    "no column 'label'": lambda t: t.pop("label"),
    "column 'classname' has empty cells": change("classname", 2, None),
    "column 'image' has empty cells": change("image", 2, None),
    "labels must count from 0 without gaps; 1 is missing": lambda t: t.update(
        label=[3 if c == 1 else c for c in t["label"]]
    ),
    "column 'label' must hold whole numbers or words, not double": lambda t: t.update(
        label=[c + 0.5 for c in t["label"]]
    ),
    "label 0 has the class name 0; give it a word": lambda t: t.update(classname=t["label"]),
    "label 1 has the class name ' '; give it a word": lambda t: t.update(
        classname=[" " if c == 1 else f"thing {c}" for c in t["label"]]
    ),
    "split 'spare' is none of train, val, test": change("split", 0, "spare"),
    "it has no test images": lambda t: t.update(split=["train"] * len(t["split"])),
    "it has no train images": lambda t: t.update(split=["test"] * len(t["split"])),
    "is called both 'thing 0' and 'else'": change("classname", 1, "else"),
    "two labels share the class name 'thing 0'": lambda t: t.update(
        classname=["thing 0" if c < 2 else "thing 2" for c in t["label"]]
    ),
    "must hold the bytes of image files": lambda t: t.update(image=[1] * len(t["image"])),
    "must hold the bytes of image files, or paths, not struct<path: string>": lambda t: t.update(
        image=[{"path": "a.png"}] * len(t["image"])
    ),
    "it holds no rows": lambda t: t.update({k: [] for k in t}),
}


@pytest.mark.parametrize("message", BROKEN)
def test_what_is_wrong_with_a_file_is_said_in_one_line(message: str, tmp_path: Path) -> None:
    table = columns()
    BROKEN[message](table)
    with pytest.raises(UsageError) as raised:
        read(write(tmp_path / "t.parquet", table))
    assert message in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.floats(0, 0.999))
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, share: float) -> None:
    whole = write(tmp_path / "t.parquet", columns()).read_bytes()
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UsageError, match="not a readable Parquet file"):
        read(cut)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"", "no bytes"),
        (b"not an image", "not an image"),
        (png(3)[:60], "cannot be read"),
        (png(3, (20_000, 20_000)), "exceeds limit of"),
    ],
)
def test_a_corrupt_image_is_named_by_row_and_class(
    broken: bytes, reason: str, tmp_path: Path
) -> None:
    table = columns()
    table["image"][7] = broken
    path = write(tmp_path / "t.parquet", table)
    words = ["method=zero_shot", f"data={path}", "shots=1", "data.val_shots=1"]
    spec = config.build("few_shot", words)
    with pytest.raises(UsageError) as raised:
        split.load_split(spec, backbone.load_backbone(BackboneSpec()).transform)
    assert "row 7 (class 'thing 1') cannot be read" in str(raised.value)
    assert reason in str(raised.value)


def test_pixels_are_those_of_open_clips_own_preprocessing() -> None:
    transform = backbone.load_backbone(BackboneSpec()).transform
    theirs = open_clip.image_transform(
        (32, 32), is_train=False, mean=transform.mean, std=transform.std
    )
    rng = np.random.default_rng(0)
    for size in ((40, 64), (64, 40), (32, 32), (100, 30), (28, 28)):
        image = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        pixels = torch.from_numpy(transform.pixels(image)).permute(2, 0, 1)[None]
        expected = theirs(image)
        torch.testing.assert_close(transform.normalise(pixels)[0], expected, atol=1e-6, rtol=1e-5)


def test_the_split_keeps_labels_names_and_halves_apart() -> None:
    spec = config.build("base_to_novel", ["method=zero_shot", "data=emoji-things"])
    split = load_split(spec, backbone.load_backbone(spec.backbone).transform)
    table = registry.read_dataset("emoji-things")
    split.held_out.close_selection()
    base, novel = split.held_out.open()
    half = (len(table.classnames) + 1) // 2
    assert len(split.train) == half * spec.data.shots
    assert (len(base.classnames), len(novel.classnames)) == (half, len(table.classnames) - half)
    assert base.classnames + novel.classnames == table.classnames
    for part in (split.train, *split.val, base, novel):
        for i, row in enumerate(part.ids):
            assert part.classnames[int(part.labels[i])] == table.classnames[table.labels[row]]
    assert not set(split.train.ids) & set(base.ids)
    assert {table.split[r] for p in (base, novel) for r in p.ids} == {"test"}
    assert len(base) + len(novel) == len(table.rows("test"))


def test_test_images_cannot_be_read_before_selection_is_closed() -> None:
    spec = config.build("few_shot", ["method=zero_shot", "data=digits"])
    split = load_split(spec, backbone.load_backbone(spec.backbone).transform)
    with pytest.raises(RuntimeError, match="before selection was closed"):
        split.held_out.open()
    assert split.held_out.reads == 0


@pytest.mark.parametrize("name", registry.embedded_names())
def test_the_embedded_sets_are_what_their_table_says(name: str) -> None:
    table, known = registry.read_dataset(name), registry.describe_set(name)
    assert len(table.classnames) == known["classes"]
    assert len(table.rows("train")) == known["train"]
    assert len(table.rows("test")) == known["test"]
    counts = np.bincount(table.labels[table.rows("train")])
    assert [counts.min(), counts.max()] == known["train_per_class"]
    path = files("harness") / "embedded" / "tasks" / known["file"]
    stored = pq.read_table(path, columns=["split", "domain"]).to_pandas()
    assert sorted(set(stored["domain"][stored["split"] == "test"])) == known["domains"]["test"]


def test_a_template_needs_a_place_for_the_name() -> None:
    spec = config.build("few_shot", ["method=zero_shot", "data.template=a photo"])
    with pytest.raises(UsageError, match=r"has no \{\} for the class name"):
        split.check_data(spec)


def test_a_prompt_longer_than_the_context_is_refused(tmp_path: Path) -> None:
    backbone = load_backbone(BackboneSpec())
    with pytest.raises(UsageError, match="tokens, embedded reads 32") as raised:
        backbone.prompts("a photo of a {}.", ["very " * 400 + "long name"])
    assert len(str(raised.value)) < 250
