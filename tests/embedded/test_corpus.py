"""The corpus: what is learnt from, what is kept out, and what it is called."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness.embedded.build import corpus, corpus_files, names, pairs
from harness.embedded.build.icons import Iconify, ink
from harness.embedded.build.sources import LICENCES, RESERVED


@pytest.mark.parametrize(
    ("prefix", "name", "known", "words", "kind"),
    [
        ("tabler", "heart-filled", {"heart"}, "heart", "fill"),
        ("lucide", "light-bulb", {"light-bulb"}, "light bulb", "line"),  # no style: the name itself
        ("x", "traffic-light", {"traffic"}, "traffic", "line"),
        ("ic", "baseline-home", set(), "home", "line"),
        ("solar", "home-2-bold-duotone", {"home"}, "home", "duo"),
        ("fluent", "book-open-24-regular", set(), "book open", "line"),
        ("streamline", "interface-edit-view-eye", set(), "edit view eye", "line"),
        ("mdi", "h264video-camera", set(), "h 264 video camera", "line"),
    ],
)
def test_a_name_is_what_is_drawn_and_how(
    prefix: str, name: str, known: set[str], words: str, kind: str
) -> None:
    found, style = names.split(prefix, name, known)
    assert names.caption(found, prefix) == words
    assert names.kind(style) == kind


def rows(folder: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """(set, name) to (caption, other captions), of both files."""
    tables = [pq.read_table(folder / f"{kind}.parquet").to_pylist() for kind in ("mono", "color")]
    return {(r["prefix"], r["name"]): (r["caption"], r["alt"]) for t in tables for r in t}


def test_the_corpus_holds_what_may_be_learnt_from(small_corpus: Path) -> None:
    found = rows(small_corpus)
    assert found["tabler", "heart-filled"] == ("heart", "")
    assert found["lucide", "house"] == ("house", "home")
    assert found["tabler", "number-7"] == ("number", "")
    assert found["fxemoji", "droplet"] == ("droplet", "")
    assert found["flagpack", "jp"] == ("flag of japan", "the flag of japan|japan")
    assert not RESERVED & {prefix for prefix, _ in found}
    assert ("tabler", "brand-github") not in found  # a brand
    assert ("simple-icons", "github") not in found
    assert ("fxemoji", "balloon") not in found  # no other vendor here tells how it is spelt


def test_sets_under_other_licences_are_left_out(package: Path, tmp_path: Path) -> None:
    path = package / "collections.json"
    table = json.loads(path.read_text())
    assert table["lucide"]["license"]["spdx"] in LICENCES
    table["lucide"]["license"]["spdx"] = "CC-BY-SA-4.0"
    path.write_text(json.dumps(table))
    found = {pair.prefix for pair in corpus.select(Iconify(package))}
    assert "lucide" not in found
    assert "tabler" in found


def test_doubles_and_looks_of_held_out_icons_are_left_out(package: Path, tmp_path: Path) -> None:
    path = package / "json" / "tabler.json"
    table = json.loads(path.read_text())
    held_out = json.loads((package / "json" / "bi.json").read_text())
    sizes = {"width": held_out.get("width", 16), "height": held_out.get("height", 16)}
    table["icons"]["love"] = held_out["icons"]["heart"] | sizes
    table["icons"]["ringer"] = table["icons"]["bell"]
    path.write_text(json.dumps(table))
    fate = corpus.build_corpus(Iconify(package), tmp_path / "out", only=["tabler"], workers=1)
    captions = [caption for caption, _ in rows(tmp_path / "out").values()]
    assert "love" not in captions
    assert captions.count("bell") + captions.count("ringer") == 1
    assert fate["looks like a held-out icon"] == 1
    assert fate["double"] == 1


def test_drawings_survive_packing(small_corpus: Path, package: Path) -> None:
    found = pairs.load(small_corpus)
    table = pq.read_table(small_corpus / "mono.parquet").to_pylist()
    row = next(i for i, r in enumerate(table) if r["name"] == "heart-filled")
    rendered = Iconify(package).set("tabler").render("heart-filled", corpus_files.SIZE)
    assert rendered is not None
    assert np.abs(found.mono[row].numpy().astype(int) - ink(rendered)).max() <= 9  # 4 bits
    assert found.colour.shape[1:] == (48, 48, 4)
    assert len(found) == len(found.mono) + len(found.colour) == len(found.weights)
    arrow = next(i for i, names in enumerate(found.captions) if names[0] == "arrow left")
    heart = next(i for i, names in enumerate(found.captions) if names[0] == "heart")
    assert not found.mirrors[arrow]
    assert found.mirrors[heart]


def test_the_notice_names_every_source(small_corpus: Path) -> None:
    text = (small_corpus / "NOTICE.md").read_text()
    for prefix in {prefix for prefix, _ in rows(small_corpus)}:
        assert f"(`{prefix}`)" in text
    assert "2.2.535" in text
    assert "Apache-2.0" in text
