"""Parameter counts against closed forms and published figures, on ViT-B/16 without weights."""

import json

import pytest

from harness import cli, counting

VIT = "ViT-B-16-quickgelu"


def trainable(method: str, *words: str, classes: int = 100) -> int:
    return int(counting.count(method, words, VIT, classes)["trainable"])


@pytest.mark.parametrize(
    ("rank", "image", "text"),
    [
        (2, 6_496, 4_448),
        (3, 14_616, 10_008),
        (4, 25_984, 17_792),
        (5, 40_600, 27_800),
        (6, 58_464, 40_032),
        (8, 103_936, 71_168),
        (10, 162_400, 111_200),
    ],
)
def test_adaring_with_equal_ranks(rank: int, image: int, text: int) -> None:
    words = [f"method.ring_rank={rank}", f"method.slice_size={rank}", "method.bottleneck=32"]
    counts = counting.count("adaring", words, VIT, 100)
    assert counts["by_tower"] == {"image": image, "text": text, "shared": 0}
    assert counts["trainable"] == counts["stored"] == image + text == 2_736 * rank**2


@pytest.mark.parametrize(
    ("r0", "r1", "r2", "b"), [(1, 1, 1, 8), (2, 5, 3, 16), (5, 2, 3, 16), (4, 4, 9, 64)]
)
def test_adaring_with_unequal_ranks(r0: int, r1: int, r2: int, b: int) -> None:
    words = [f"method.slice_size=[{r0}, {r1}]", f"method.ring_rank={r2}", f"method.bottleneck={b}"]
    expected = 0
    for d in (768, 512):
        expected += 12 * r0 * r1 + d * r1 * r2 + b * r2 * r0  # down: L r0 r1 + d r1 r2 + b r2 r0
        expected += 12 * r0 * r1 + b * r1 * r2 + d * r2 * r0  # up: the same with d and b changed
    assert trainable("adaring", *words) == expected


def test_adaring_computes_with_the_factors_of_its_matrices() -> None:
    inner = 2 * 12  # ring_rank * slice_size; the slices are folded into the left core, by layer
    down = sum(12 * d * inner + inner * 32 for d in (768, 512))
    up = sum(12 * 32 * inner + inner * d for d in (768, 512))
    assert counting.count("adaring", [], VIT, 100)["inference"] == down + up


def test_a_wide_ring_computes_with_dense_matrices() -> None:
    words = ["method.ring_rank=8", "method.slice_size=8"]  # rank 64 is more than 32
    assert counting.count("adaring", words, VIT, 100)["inference"] == 983_040


@pytest.mark.parametrize(
    ("rank", "expected"), [(1, 92_160), (2, 184_320), (8, 737_280), (16, 1_474_560)]
)
def test_lora_on_q_k_v(rank: int, expected: int) -> None:
    assert trainable("lora", f"method.rank={rank}") == expected


def test_lora_on_every_linear_map() -> None:
    words = ["method.rank=4", 'method.sites=["q","k","v","o","fc","proj"]']
    assert trainable("lora", *words) == sum(12 * 4 * (4 * 2 * d + 2 * 5 * d) for d in (768, 512))


def test_lora_in_the_upper_image_blocks() -> None:
    words = ["method.layers=top:3", 'method.towers=["image"]', "method.sites=q,v"]
    assert trainable("lora", *words) == 3 * 2 * 2 * 2 * 768


def test_full_fine_tuning_is_the_whole_model() -> None:
    counts = counting.count("full_finetune", [], VIT, 100)
    assert counts["trainable"] == 149_620_737
    assert counts["by_tower"]["image"] == 86_192_640
    assert counts["by_tower"]["text"] + counts["by_tower"]["shared"] == 63_428_097


@pytest.mark.parametrize(("classes", "expected"), [(100, 51_300), (1000, 513_000)])
def test_the_linear_probe_is_its_head(classes: int, expected: int) -> None:
    counts = counting.count("linear_probe", [], VIT, classes)
    assert counts["trainable"] == counts["head"] == expected
    assert trainable("linear_probe", "method.bias=false", classes=classes) == 512 * classes


def test_the_others() -> None:
    assert trainable("zero_shot") == 0
    assert trainable("clip_adapter") == 131_072
    assert trainable("full_rank", "method.bottleneck=32") == 983_040
    assert trainable("full_rank", "method.form=delta") == 12 * 3 * (768**2 + 512**2)


def test_what_folds_costs_nothing_at_inference() -> None:
    assert counting.count("lora", [], VIT, 100)["inference"] == 0
    assert counting.count("full_finetune", [], VIT, 100)["inference"] == 0
    assert counting.count("full_rank", ["method.form=delta"], VIT, 100)["inference"] == 0
    assert counting.count("full_rank", [], VIT, 100)["inference"] == 983_040


def test_the_command_prints_the_json_of_the_design(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.call(["params", "adaring", "--json", "method.ring_rank=4", "method.slice_size=4"])
    counts = json.loads(capsys.readouterr().out)
    assert code == 0
    assert set(counts) == {"trainable", "stored", "inference", "head", "by_tower", "by_part"}
    assert counts["trainable"] == 43_776
    assert sum(counts["by_part"].values()) == counts["trainable"]


def test_every_supported_backbone_can_be_counted() -> None:
    from harness import backbone

    for name in backbone.names():
        if "bigG" in name or "ViT-e" in name:
            continue  # meta tensors are free, building their modules is not
        counts = counting.count("lora", [], name, 10)
        assert counts["trainable"] == counts["by_tower"]["image"] + counts["by_tower"]["text"] > 0
