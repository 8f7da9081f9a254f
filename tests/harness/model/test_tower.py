"""Our forward pass against open_clip's own encoders."""

import open_clip
import pytest
import torch

from harness.model import backbone, clip_layout, open_clip_configs
from harness.model.attention import attend, attend_packed
from harness.model.backbone import Backbone, load_backbone
from harness.model.tower import Tower
from harness.spec.spec import BackboneSpec
from methods.kit.core.errors import UsageError
from tests.conftest import BUILDS, TINY

TEXTS = ["a cat", "a photo of a very small dog", "tree"]


@pytest.mark.parametrize("build", BUILDS)
def test_both_towers_equal_open_clip(build: str, tiny: dict[str, Backbone]) -> None:
    backbone = tiny[build]
    rng = torch.Generator().manual_seed(1)
    pixels = torch.randn(5, 3, 32, 32, generator=rng)
    tokens = open_clip.SimpleTokenizer(context_length=16)(TEXTS)
    with torch.no_grad():
        image, text = backbone.model.encode_image(pixels), backbone.model.encode_text(tokens)
        ours = backbone.image(pixels)
        words = backbone.text(backbone.text.prompts(tokens))
    torch.testing.assert_close(ours, image, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(words, text, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("build", BUILDS)
def test_input_gradients_equal_open_clip(build: str, tiny: dict[str, Backbone]) -> None:
    backbone = tiny[build]
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    grads = []
    for encode in (backbone.model.encode_image, backbone.image):
        x = pixels.clone().requires_grad_()
        encode(x).square().sum().backward()
        assert x.grad is not None
        grads.append(x.grad)
    torch.testing.assert_close(grads[0], grads[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("pooled", [False, True])
def test_attention_in_bf16_is_that_of_fp32(causal: bool, pooled: bool) -> None:
    rng = torch.Generator().manual_seed(4)
    n, length, width = 3, 7, 16
    q, k, v = (torch.randn(n * length, width, generator=rng) for _ in range(3))
    ends = torch.tensor([2, 6, 4]) if pooled else None
    q = q[:n] if pooled else q
    exact = attend(q, k, v, n, 2, causal, ends)
    rounded = attend(*(t.bfloat16() for t in (q, k, v)), n, 2, causal, ends)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, atol=3e-2, rtol=3e-2)


def test_the_embedded_backbone_equals_open_clip_on_real_input() -> None:
    backbone = load_backbone(BackboneSpec())
    tokens = open_clip.SimpleTokenizer(context_length=32)(["an icon of a map pin.", "a bell"])
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(
            backbone.text(backbone.text.prompts(tokens)),
            backbone.model.encode_text(tokens),
            atol=1e-5,
            rtol=1e-5,
        )
        torch.testing.assert_close(
            backbone.image(pixels), backbone.model.encode_image(pixels), atol=1e-5, rtol=1e-5
        )


def test_a_full_size_model_equals_open_clip() -> None:
    model = open_clip.create_model("ViT-B-32-quickgelu", load_weights=False).eval()
    model.requires_grad_(False)
    parts = clip_layout.read_layout(model, "ViT-B-32-quickgelu")
    image, text = Tower(parts.image, parts.clip.weights), Tower(parts.text, parts.clip.weights)
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(4))
    tokens = open_clip.get_tokenizer("ViT-B-32-quickgelu")(TEXTS)
    with torch.no_grad():
        torch.testing.assert_close(image(pixels), model.encode_image(pixels), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            text(text.prompts(tokens)), model.encode_text(tokens), atol=1e-5, rtol=1e-5
        )


def test_every_tensor_of_the_model_is_named_once(tiny: dict[str, Backbone]) -> None:
    for built in tiny.values():
        model = sum(p.numel() for p in built.model.parameters())
        ours = sum(w.numel() for w in built.clip.weights.values())
        assert ours == model
        keys = [piece.key for piece in built.mappings]
        assert len(keys) == len(set(keys))


def test_text_is_cut_only_where_that_is_exact(tiny: dict[str, Backbone]) -> None:
    tokens = open_clip.SimpleTokenizer(context_length=16)(["cat", "a dog"])
    assert tiny["flat"].text.prompts(tokens).ids.shape == (2, 4)
    assert tiny["eos"].text.prompts(tokens).ids.shape == (2, 4)
    assert tiny["bidirectional"].text.prompts(tokens).ids.shape == (2, 16)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [5, 200])
def test_attention_equals_the_textbook(length: int, causal: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    n, heads, width = 3, 4, 32
    q, k, v = (torch.randn(n * length, width, generator=rng) for _ in range(3))
    got = attend(q, k, v, n, heads, causal)
    assert torch.equal(got, attend_packed(torch.cat((q, k, v), -1), n, heads, causal))
    for s in range(n):
        for h in range(heads):
            rows, cols = slice(s * length, (s + 1) * length), slice(h * 8, (h + 1) * 8)
            scores = q[rows, cols] @ k[rows, cols].T / 8**0.5
            if causal:
                scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
            expected = scores.softmax(-1) @ v[rows, cols]
            torch.testing.assert_close(got[rows, cols], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("RN50", "its image tower is a ResNet"),
        ("ViT-B-16-SigLIP", "its image tower is a timm model"),
        ("roberta-ViT-B-32", "its text tower is a Hugging Face model"),
        ("coca_ViT-B-32", "captioning"),
    ],
)
def test_other_models_are_refused_in_one_line(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as raised:
        backbone.load_backbone(BackboneSpec(name, "random"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("part", "option", "reason"),
    [
        ("vision_cfg", {"qk_norm": True}, "query-key norms"),
        ("vision_cfg", {"scale_heads": True}, "head scales"),
        ("vision_cfg", {"scaled_cosine_attn": True}, "cosine"),
        ("vision_cfg", {"scale_attn_inner": True}, "inside attention"),
        ("text_cfg", {"scale_attn": True}, "behind attention"),
        ("text_cfg", {"scale_fc": True}, "inside the MLP"),
        ("vision_cfg", {"attentional_pool": True}, "pools by attention"),
        ("text_cfg", {"embed_cls": True}, "class token"),
    ],
)
def test_options_we_do_not_compute_are_refused(
    part: str, option: dict[str, bool], reason: str
) -> None:
    config = open_clip_configs.model_config(str(TINY / "nested.json"))
    config[part] = config[part] | option
    with pytest.raises(UsageError, match=reason):
        clip_layout.read_layout(open_clip_configs.build_model("x", config), "x")
