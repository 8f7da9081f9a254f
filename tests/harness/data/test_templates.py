"""Class names and templates as data: from files, and several as an ensemble."""

import json
from pathlib import Path

import open_clip
import pytest

from harness.data import registry, split, templates
from harness.data.dataset import Dataset
from harness.data.split import load_split
from harness.model import backbone
from harness.model.backbone import load_backbone
from harness.run import config
from harness.run.prepare import attach
from harness.spec.spec import BackboneSpec
from tests.drawn_images import class_folders


@pytest.fixture(autouse=True)
def read_anew() -> None:
    registry._read.cache_clear()


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
    transform = backbone.load_backbone(BackboneSpec()).transform
    plain = split.load_split(config.build("few_shot", words), transform)
    named = split.load_split(
        config.build("few_shot", [*words, f"data.classnames={tmp_path / file}"]), transform
    )
    assert named.train.classnames == ("house cat", "hound", "barn owl")
    assert named.hashes["names_hash"] != plain.hashes["names_hash"]
    assert named.hashes["data_hash"] == plain.hashes["data_hash"]


def test_the_sets_of_templates_are_those_of_clip(tmp_path: Path) -> None:
    table = registry.read_dataset(str(class_folders(tmp_path / "p")))
    for word, theirs in (
        ("imagenet_7", open_clip.SIMPLE_IMAGENET_TEMPLATES),
        ("imagenet_80", open_clip.OPENAI_IMAGENET_TEMPLATES),
    ):
        found = templates.resolve_templates(word, table)
        assert [t.replace("{}", "fox") for t in found] == [t("fox") for t in theirs]
    assert templates.resolve_templates("generic", table) == ("a photo of a {}.",)
    assert templates.resolve_templates("coop", table) == ("a photo of a {}.",)
    dtd = Dataset("dtd", *[()] * 5)  # type: ignore[arg-type]
    assert templates.resolve_templates("coop", dtd) == ("{} texture.",)


@pytest.mark.parametrize("file", ["t.txt", "t.json"])
def test_templates_come_from_a_file(file: str, tmp_path: Path) -> None:
    mine = ["a {} at night.", "my {}."]
    text = "\n".join(mine) if file == "t.txt" else json.dumps(mine)
    (tmp_path / file).write_text(text)
    table = registry.read_dataset(str(class_folders(tmp_path / "p")))
    assert templates.resolve_templates(str(tmp_path / file), table) == tuple(mine)


def test_an_ensemble_is_the_mean_of_normalised_features() -> None:
    import torch

    words = ["method=zero_shot", "data=digits", "data.template=imagenet_7"]
    spec = config.build("few_shot", words)
    backbone = load_backbone(spec.backbone)
    split = load_split(spec, backbone.transform)
    net = attach(spec, backbone, split)
    assert net.frozen_text is not None
    tokenizer = open_clip.get_tokenizer("ViT-B-32", context_length=backbone.context)
    for i, name in enumerate(split.train.classnames):
        texts = [t.replace("{}", name.replace("_", " ")) for t in split.templates]
        features = backbone.model.encode_text(tokenizer(texts), normalize=True)  # type: ignore[operator]
        mean = features.mean(0)
        torch.testing.assert_close(net.frozen_text[i], mean / mean.norm(), atol=1e-4, rtol=0)
    one = config.build("few_shot", [*words[:2], "data.template=generic"])
    assert (
        load_split(one, backbone.transform).hashes["template_hash"] != split.hashes["template_hash"]
    )


def test_a_method_that_trains_the_text_tower_learns_with_an_ensemble() -> None:
    from harness.run import execute

    words = ["method=lora", "data=digits", "shots=1", "data.val_shots=1", "train.epochs=4"]
    result = execute.execute(config.build("few_shot", [*words, "data.template=imagenet_7"]))
    assert result.losses[-1] < result.losses[0]
