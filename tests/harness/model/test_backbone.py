"""Where weights come from, and what is refused."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.model import backbone, open_clip_configs, weights
from harness.model.backbone import load_backbone
from harness.model.weights import WeightSource
from harness.spec.spec import BackboneSpec
from methods.kit.core.errors import UsageError
from tests.conftest import TINY


def test_a_weights_file_is_what_is_loaded(weights: dict[str, Path]) -> None:
    from safetensors.torch import load_file

    backbone = load_backbone(BackboneSpec(str(TINY / "flat.json"), str(weights["flat"])))
    stored = load_file(weights["flat"])
    loaded = backbone.model.state_dict()
    assert all(torch.equal(stored[k], loaded[k]) for k in stored)


def test_random_weights_are_the_same_everywhere_and_leave_the_generator_alone() -> None:
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    one = backbone._cached_backbone.__wrapped__(str(TINY / "flat.json"), "random", "fp32", "cpu")
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(7)
    two = backbone._cached_backbone.__wrapped__(str(TINY / "flat.json"), "random", "fp32", "cpu")
    assert one.digest == two.digest


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("ViT-B-61", "openai", "did you mean 'ViT-B-16'"),
        ("ViT-B-16-quickgelu", "opanai", "did you mean 'openai'"),
        ("ViT-B-16-quickgelu", "", "needs weights: a tag (openai, "),
        ("ViT-B-16-quickgelu", "missing.safetensors", "missing.safetensors: no such file"),
        ("missing.json", "random", "missing.json: no such file"),
        ("ViT-B-16", "openai", "were trained with QuickGELU, ViT-B-16 has GELU; use backbone="),
        ("ViT-B-16-quickgelu", "laion2b_s34b_b88k", "are weights of ViT-B-16, not"),
    ],
)
def test_what_cannot_be_had_is_told(name: str, pretrained: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        weights.check_weights(BackboneSpec(name, pretrained))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


VISION = '"vision_cfg": {"layers": 2, "width": 64, "head_width": 16, "image_size": 32'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{nonsense", "is not a JSON object"),
        ("[1, 2]", "is not a JSON object"),
        ("{}", "has no 'embed_dim'"),
        ('{"embed_dim": 8, "vision_cfg": 3, "text_cfg": {}}', "'vision_cfg' must be a JSON object"),
        ('{"embed_dim": 8, "vision_cfg": {"wdth": 8}, "text_cfg": {}}', "argument 'wdth'"),
        (f'{{"embed_dim": -3, {VISION}}}, "text_cfg": {{}}}}', "open_clip cannot build it: "),
        (f'{{"embed_dim": 8, {VISION}, "patch_size": 0}}, "text_cfg": {{}}}}', "by zero"),
        ('{"embed_dim": 8, "vision_cfg": {"layers": 0}, "text_cfg": {}}', "has no blocks"),
    ],
)
def test_a_configuration_that_is_nonsense_is_told_in_one_line(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "clip.json"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        backbone.backbone_outline(str(path))
    assert message in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_quick_gelu_mismatch_is_an_error_both_ways() -> None:
    plain, quick = {"quick_gelu": False}, {"quick_gelu": True}
    with pytest.raises(UsageError, match="trained with GELU, ViT-B-16-quickgelu has QuickGELU"):
        weights.check_quick_gelu("ViT-B-16-quickgelu", quick, WeightSource(None, {}, False, "w"))
    with pytest.raises(UsageError, match="use backbone=ViT-B-16-quickgelu"):
        weights.check_quick_gelu("ViT-B-16", plain, WeightSource(None, {}, True, "w"))
    weights.check_quick_gelu("ViT-B-16", plain, WeightSource(None, {}, None, "w"))


def test_a_file_beside_its_configuration_is_checked_too(
    weights: dict[str, Path], tmp_path: Path
) -> None:
    copy = tmp_path / "model.safetensors"
    copy.write_bytes(weights["flat"].read_bytes())
    beside = {"model_cfg": {"quick_gelu": True}, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(beside))
    with pytest.raises(UsageError, match="trained with QuickGELU"):
        backbone.load_backbone(BackboneSpec(str(TINY / "flat.json"), str(copy)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pt", b"x", "not a safetensors file; other formats can run code"),
        ("w.safetensors", b"", "does not hold the weights"),
        ("w.safetensors", b"\x08\0\0\0\0\0\0\0{broken}", "does not hold the weights"),
    ],
)
def test_other_files_are_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        backbone.load_backbone(BackboneSpec(str(TINY / "flat.json"), str(tmp_path / name)))


def test_weights_of_another_model_are_refused(weights: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="does not hold the weights of"):
        backbone.load_backbone(BackboneSpec(str(TINY / "custom.json"), str(weights["flat"])))


def test_nothing_is_fetched_unless_weights_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    backbone._cached_backbone.__wrapped__("embedded", "", "fp32", "cpu")
    backbone.backbone_outline("ViT-B-16-quickgelu")
    weights.check_weights(BackboneSpec("ViT-B-16-quickgelu", "openai"))
    assert "ViT-B-16-quickgelu" in open_clip_configs.backbone_names()


def test_weights_that_cannot_be_downloaded_are_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        backbone.open_clip, "download_pretrained", lambda config: _raise(OSError("no route"))
    )
    with pytest.raises(UsageError, match=r"not on disk and could not be downloaded \(no route\)"):
        backbone.load_backbone(BackboneSpec("ViT-B-16-quickgelu", "openai"))


def _raise(error: Exception) -> None:
    raise error


def test_bf16_keeps_the_weights_and_gives_nearly_the_same_features() -> None:
    full = backbone.load_backbone(BackboneSpec())
    half = backbone.load_backbone(BackboneSpec(precision="bf16"))
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), half.autocast():
        rough = half.image(pixels).float()
    with torch.no_grad():
        exact = full.image(pixels)
    assert rough.dtype == exact.dtype == torch.float32
    assert float((rough - exact).abs().max()) > 0
    similarity = torch.nn.functional.cosine_similarity(rough, exact)
    assert float(similarity.min()) > 0.999
    assert all(w.dtype == torch.float32 for w in half.clip.weights.values())
