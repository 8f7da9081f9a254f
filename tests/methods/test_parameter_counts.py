"""Parameter counts against closed forms and published figures, on ViT-B/16 without weights."""

import json

import pytest

from harness.cli import main, run_output

VIT = "ViT-B-16-quickgelu"
ADAPTER = ["method.form=adapter", "method.bottleneck=32"]


def trainable(method: str, *words: str, classes: int = 100) -> int:
    return int(run_output.count_parameters(method, words, VIT, classes)["trainable"])


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
    words = [*ADAPTER, f"method.ring_rank={rank}", f"method.slice_size={rank}"]
    counts = run_output.count_parameters("adaring", words, VIT, 100)
    assert counts["by_tower"] == {"image": image, "text": text, "shared": 0}
    assert counts["trainable"] == counts["stored"] == image + text == 2_736 * rank**2


@pytest.mark.parametrize(
    ("r0", "r1", "r2", "b"), [(1, 1, 1, 8), (2, 5, 3, 16), (5, 2, 3, 16), (4, 4, 9, 64)]
)
def test_adaring_with_unequal_ranks(r0: int, r1: int, r2: int, b: int) -> None:
    words = ["method.form=adapter", f"method.bottleneck={b}"]
    words += [f"method.slice_size=[{r0}, {r1}]", f"method.ring_rank={r2}"]
    expected = 0
    for d in (768, 512):
        expected += 12 * r0 * r1 + d * r1 * r2 + b * r2 * r0  # down: L r0 r1 + d r1 r2 + b r2 r0
        expected += 12 * r0 * r1 + b * r1 * r2 + d * r2 * r0  # up: the same with d and b changed
    assert trainable("adaring", *words) == expected


@pytest.mark.parametrize(("rank", "expected"), [(6, 50_112), (8, 89_088)])
def test_adaring_as_one_ring(rank: int, expected: int) -> None:
    words = [*ADAPTER, "method.reading=one_ring"]
    words += [f"method.ring_rank={rank}", f"method.slice_size={rank}"]
    assert trainable("adaring", *words) == expected  # r^2 (2 L + d + b) a tower


@pytest.mark.parametrize("rank", [1, 8, 16])
def test_adaring_with_widths_in_factors(rank: int) -> None:
    words = [*ADAPTER, "method.reading=factored"]
    words += [f"method.ring_rank={rank}", f"method.slice_size={rank}"]
    counts = run_output.count_parameters("adaring", words, VIT, 100)
    # L + 8 + 8 + 12 + 4 + 8 and L + 8 + 8 + 8 + 4 + 8, twice each
    assert counts["by_tower"] == {"image": 2 * 52 * rank**2, "text": 2 * 48 * rank**2, "shared": 0}
    assert counts["trainable"] == {1: 200, 8: 12_800, 16: 51_200}[rank]


def test_adaring_with_cores_of_both_towers() -> None:
    r0, r1, r2, b = 2, 5, 3, 16
    words = ["method.form=adapter", f"method.bottleneck={b}"]
    words += [f"method.slice_size=[{r0}, {r1}]", f"method.ring_rank={r2}"]
    counts = run_output.count_parameters("adaring", ["method.share=both", *words], VIT, 100)
    assert counts["by_tower"]["shared"] == b * r2 * r0 + b * r1 * r2
    assert counts["by_tower"]["image"] == 2 * 12 * r0 * r1 + 768 * r2 * (r0 + r1)
    assert counts["by_tower"]["text"] == 2 * 12 * r0 * r1 + 512 * r2 * (r0 + r1)


def test_adaring_beside_the_upper_blocks() -> None:
    upper = trainable("adaring", *ADAPTER, "method.layers=5-12")
    assert trainable("adaring", *ADAPTER, "method.reading=parallel") == upper


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ("[[2,2],[4,4]]", 54_720),
        ("[[3,3],[5,5]]", 93_024),
        ("[[2,2],[3,3],[4,4]]", 79_344),
        ("[[4,4],[8,8]]", 218_880),
    ],
)
def test_adaring_with_rings_of_several_ranks(ranks: str, expected: int) -> None:
    words = [*ADAPTER, f"method.ranks={ranks}"]
    assert trainable("adaring", *words) == expected
    several = ranks.count("],[") + 1
    gates = trainable("adaring", *words, "method.combine=layer_gate")
    assert gates == expected + 24 * several
    routed = trainable("adaring", *words, "method.combine=input_gate")
    assert routed == expected + (24 + 768 + 512) * several


def test_adaring_of_weight_updates() -> None:
    r0, r1, r2 = 3, 4, 2
    words = [f"method.slice_size=[{r0}, {r1}]", f"method.ring_rank={r2}"]
    sites = 'method.sites=["q","k","v","o","fc","proj"]'

    def ring(layers: int, out: int, width: int) -> int:
        return layers * r0 * r1 + out * r1 * r2 + width * r2 * r0

    shapes = [(4, 1, 1), (1, 4, 1), (1, 1, 4)]  # q, k, v, o; fc; proj
    cases = [(many, out * d, width * d) for many, out, width in shapes for d in (768, 512)]
    by_shape = sum(ring(12 * many, out, width) for many, out, width in cases)
    by_site = sum(many * ring(12, out, width) for many, out, width in cases)
    assert trainable("adaring", *words, sites) == by_shape
    assert trainable("adaring", *words, sites, "method.grouping=site") == by_site
    assert run_output.count_parameters("adaring", words, VIT, 100)["inference"] == 0


def test_updates_with_a_ring_rank_of_one_count_as_lotr() -> None:
    """The repository of LoTR: q and v, rank 2, 3,168; q, k and v, rank 8 and 16, both towers."""
    words = ["method.ring_rank=1"]
    small = ["method.towers=image", "method.sites=q,v", "method.slice_size=2"]
    assert trainable("adaring", *words, *small) == 3_168
    assert trainable("adaring", *words, "method.slice_size=8") == 25_088
    assert trainable("adaring", *words, "method.slice_size=16") == 59_392


def test_adaring_computes_with_the_factors_of_its_matrices() -> None:
    inner = 2 * 8  # ring_rank * slice_size; the slices are folded into the small core, by layer
    one = sum(d * inner + 12 * inner * 32 for d in (768, 512))
    assert run_output.count_parameters("adaring", ADAPTER, VIT, 100)["inference"] == 2 * one


def test_a_wide_ring_computes_with_dense_matrices() -> None:
    words = [*ADAPTER, "method.ring_rank=8", "method.slice_size=8"]  # rank 64 is more than 32
    assert run_output.count_parameters("adaring", words, VIT, 100)["inference"] == 983_040


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
    counts = run_output.count_parameters("full_finetune", [], VIT, 100)
    assert counts["trainable"] == 149_620_737
    assert counts["by_tower"]["image"] == 86_192_640
    assert counts["by_tower"]["text"] + counts["by_tower"]["shared"] == 63_428_097


@pytest.mark.parametrize(("classes", "expected"), [(100, 51_300), (1000, 513_000)])
def test_the_linear_probe_is_its_head(classes: int, expected: int) -> None:
    counts = run_output.count_parameters("linear_probe", [], VIT, classes)
    assert counts["trainable"] == counts["head"] == expected
    assert trainable("linear_probe", "method.bias=false", classes=classes) == 512 * classes


def test_the_others() -> None:
    assert trainable("zero_shot") == 0
    assert trainable("clip_adapter") == 131_072
    assert trainable("full_rank", "method.bottleneck=32") == 983_040
    assert trainable("full_rank", "method.form=delta") == 12 * 3 * (768**2 + 512**2)


def test_what_folds_costs_nothing_at_inference() -> None:
    assert run_output.count_parameters("lora", [], VIT, 100)["inference"] == 0
    assert run_output.count_parameters("full_finetune", [], VIT, 100)["inference"] == 0
    assert (
        run_output.count_parameters("full_rank", ["method.form=delta"], VIT, 100)["inference"] == 0
    )
    assert run_output.count_parameters("full_rank", [], VIT, 100)["inference"] == 983_040


def test_the_command_prints_the_json_of_the_design(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*ADAPTER, "method.ring_rank=4", "method.slice_size=4"]
    code = main.call(["params", "adaring", "--json", *words])
    counts = json.loads(capsys.readouterr().out)
    assert code == 0
    assert set(counts) == {"trainable", "stored", "inference", "head", "by_tower", "by_part"}
    assert counts["trainable"] == 43_776
    assert sum(counts["by_part"].values()) == counts["trainable"]


def test_every_supported_backbone_can_be_counted() -> None:
    from harness.model import open_clip_configs

    for name in open_clip_configs.backbone_names():
        if "bigG" in name or "ViT-e" in name:
            continue  # meta tensors are free, building their modules is not
        counts = run_output.count_parameters("lora", [], name, 10)
        assert counts["trainable"] == counts["by_tower"]["image"] + counts["by_tower"]["text"] > 0
