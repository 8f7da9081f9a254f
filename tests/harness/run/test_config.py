"""Words to specs: who wins, and what a wrong word is told."""

import dataclasses

import pytest

import methods
from harness.run import config
from harness.spec.spec import Spec
from methods.kit.core.errors import UsageError


def build(*words: str, preset: str = "base_to_novel") -> Spec:
    return config.build(preset, words)


def test_a_word_wins_over_everything() -> None:
    assert build("method=lora").method == dataclasses.replace(build("method=lora").method)
    assert build("method=lora", "method.rank=7").method.rank == 7  # type: ignore[attr-defined]
    assert build("method=lora", "train.lr=0.5").train.lr == 0.5
    assert build("method=lora", "seed=4").seed == 4


def test_the_recipe_of_a_method_holds_where_nothing_was_tuned() -> None:
    words = ("method=lora", "backbone=ViT-B-16-quickgelu", "pretrained=openai")
    assert build(*words).train.lr == methods.find("lora").recipe["train.lr"] == 2e-4
    assert build(*words).train.augment == "crop_flip"
    assert build("method=lora").train.augment == "none"  # tuned for the embedded backbone


@pytest.mark.parametrize(
    ("data", "shots", "val_shots"),
    [("icon-concepts", 4, 4), ("emoji-things", 2, 1), ("flags", 2, 1), ("digits", 16, 4)],
)
def test_a_data_set_brings_shots_that_fit(data: str, shots: int, val_shots: int) -> None:
    spec = build("method=lora", f"data={data}")
    assert (spec.data.shots, spec.data.val_shots) == (shots, val_shots)
    assert build("method=lora", f"data={data}", "shots=1").data.shots == 1


def test_lists_and_pairs_are_read() -> None:
    spec = build("method=lora", "method.sites=q,v", 'method.towers=["image"]')
    assert spec.flat()["method.sites"] == ["q", "v"]
    assert spec.flat()["method.towers"] == ["image"]
    spec = build("method=adaring", "method.slice_size=[2, 5]", "method.layers=top:3")
    assert spec.method.slice_size == (2, 5)  # type: ignore[attr-defined]
    assert spec.method.layers == "top:3"  # type: ignore[attr-defined]
    assert build("method=adaring", "method.layers=2").flat()["method.layers"] == "2"
    same = build("method=adaring", "method.temperature=[1, 1]", "method.ranks=[[2, 2], [2, 2]]")
    assert same.flat()["method.ranks"] == [[2, 2], [2, 2]]  # numbers may repeat, words may not


def test_views_need_augmentation_and_are_another_run() -> None:
    words = ("method=lora", "train.augment=crop_flip")
    assert build(*words).data.views == 0
    assert build(*words, "data.views=4").digest() != build(*words).digest()
    assert build(*words, "data.views=4").configuration() != build(*words).configuration()
    with pytest.raises(UsageError, match=r"^data.views: 4 views of each image need train.augment"):
        build("method=lora", "data.views=4", "train.augment=none")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method=lora", "data.views=-1"], "data.views: must be greater than or equal to 0"),
        (["method=lora", "method.rnk=4"], "method.rnk: unknown, did you mean 'rank'?"),
        (["method=lore"], "method 'lore': unknown, did you mean 'lora'?"),
        (["method=lora", "method.rank=0"], "method.rank: must be greater than 0, got 0"),
        (["method=lora", "method.rank=-3"], "method.rank: must be greater than 0, got -3"),
        (["method=lora", "method.rank=fast"], "method.rank: expected a whole number, got 'fast'"),
        (["method=lora", "method.rank=2.5"], "method.rank: expected a whole number, got 2.5"),
        (["method=lora", "method.rslora=1"], "method.rslora: expected true or false, got 1"),
        (["method=lora", "method.dropout=1"], "method.dropout: must be less than 1, got 1"),
        (["method=lora", "method.sites=q,w"], "method.sites 'w': unknown"),
        (["method=lora", "method.sites=q,v,q"], "method.sites: 'q' is given twice"),
        (["method=lora", 'method.towers=["text", "text"]'], "'text' is given twice"),
        (["method=lora", "method.alpha=inf"], "method.alpha: expected a finite number, got inf"),
        (["method=lora", "train.lr=nan"], "train.lr: expected a finite number, got nan"),
        (["method=lora", "train.lr=1e999"], "train.lr: expected a finite number, got inf"),
        (["method=lora", "train.clip_grad=inf"], "train.clip_grad: expected a finite number"),
        (["method=lora", "train.lr=0"], "train.lr: must be greater than 0, got 0"),
        (["method=lora", "train.lr=quick"], "train.lr: expected a number, got 'quick'"),
        (["method=lora", "train.optimizer=adam"], "did you mean 'adamw'?"),
        (["method=lora", "trian.lr=1"], "trian.lr: unknown, did you mean 'train.lr'?"),
        (["method=lora", "lr=1"], "lr: unknown, did you mean 'train.lr'?"),
        (["method=lora", "backbone.precision=fp16"], "backbone.precision 'fp16': unknown"),
        (["method=lora", "data.shots=0"], "data.shots: must be greater than 0, got 0"),
        (["method=lora", "seed=one"], "seed: expected a whole number from 0 to 2^32 - 1"),
        (["method=lora", "seed=99999999999"], "seed: expected a whole number from 0 to 2^32 - 1"),
        (["method=lora", "seed=-1"], "got -1"),
        (["method=lora", "seed"], "'seed': expected key=value"),
        (["method=lora", "seed=1", "seed=2"], "seed: given twice"),
        (["seed=1"], "method: missing"),
        (["method=adaring", "method.slice_size=[1, 2, 3]"], "method.slice_size"),
    ],
)
def test_a_wrong_word_is_told_what_is_right(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        build(*words)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'few_shot'"):
        build("method=lora", preset="fewshot")


def test_the_digest_is_of_every_field_and_nothing_else() -> None:
    one = build("method=lora")
    assert one.digest() == build("method=lora", "seed=1").digest()
    others = ["seed=2", "method.rank=3", "train.lr=1e-4", "shots=3", "data=flags"]
    digests = {build("method=lora", word).digest() for word in others}
    assert len(digests | {one.digest()}) == 6
    assert len(one.digest()) == 16


def test_a_configuration_is_the_same_for_all_seeds_and_data_sets() -> None:
    one = build("method=lora").configuration()
    assert one == build("method=lora", "seed=5", "data=flags").configuration()
    assert one != build("method=lora", "method.rank=3").configuration()


def test_a_stored_spec_comes_back(tmp_path: object) -> None:
    for name in methods.names():
        spec = build(f"method={name}", "data=flags", "seed=3")
        assert config.from_dict(spec.as_dict()) == spec
        words = [w for w in spec.overrides() if not w.endswith("=[]")]
        assert build(*words) == spec


def test_every_tuned_setting_names_something_that_exists() -> None:
    for name in methods.names():
        build(f"method={name}")  # an unknown key or method would raise
    tables = config._load("tuned")["embedded"]
    assert set(tables) - {"all"} <= set(methods.names())
