"""multi_task: several data sets at once, with one adapter."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from harness.cli import listing, main
from harness.data import leakage, multi_task_sets
from harness.run import config, stages
from harness.run.execute import check_spec, execute
from harness.run.source_checks import check_sources
from harness.spec.spec import Spec
from harness.train.batches import task_order
from harness.train.task_affinity import GradientAffinity
from methods.kit.contract.adapter import Adapter
from methods.kit.core.clip import Clip, Tower
from methods.kit.core.errors import UsageError
from tests.conftest import TINY

RANDOM_TINY = [f"backbone={TINY / 'flat.json'}", "pretrained=random"]
TWO = ["data=fashion-mnist,digits", "data.shots=1", "train.epochs=1", *RANDOM_TINY]


def spec(*words: str, preset: str = "multi_task") -> Spec:
    return config.build(preset, [*words])


@pytest.mark.parametrize("given", ["flags,digits", "digits+flags", ["flags", "digits"]])
def test_several_sets_have_one_name_however_they_are_named(given: object) -> None:
    assert multi_task_sets.joined_name(given) == "digits+flags"


def test_a_collection_stands_for_its_sets() -> None:
    assert len(multi_task_sets.joined_name("embedded").split("+")) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=digits"], "several data sets at once"),
        (["data=digits,digits"], "'digits' is named twice"),
        (["data=digits,flgs"], "did you mean 'flags'"),
        (["data=digits,flags", "data.classnames=x.txt"], "one data set's classes"),
        (["data=digits,flags", "data.targets=icon-concepts"], "data.targets: only"),
        (["data=digits,flags", "shots=16"], "data.shots"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        check_spec(spec("method=lora", *words))
    assert "\n" not in str(error.value)


def test_shots_are_those_that_every_set_has() -> None:
    assert spec("method=lora", "data=digits,fashion-mnist").data.shots == 16
    data = spec("method=lora", "data=digits,flags").data
    assert (data.shots, data.val_shots) == (2, 1)
    assert spec("method=lora", "data=digits,flags", "data.shots=1").data.shots == 1


def test_other_protocols_keep_their_digests() -> None:
    """This digest was computed before there was multi_task: sets joined by + are no new field."""
    assert spec("method=lora", "data=digits", preset="few_shot").digest() == "a7e18f8c90ef9e51"
    one = spec("method=lora", *TWO)
    assert one.digest() == spec("method=lora", "data=digits+fashion-mnist", *TWO[1:]).digest()
    assert config.from_dict(one.as_dict()) == one


def test_tasks_take_turns_as_often_as_they_have_batches_in_a_keyed_order() -> None:
    order = task_order([5, 3, 1], seed=1, epoch=0)
    assert Counter(order) == {0: 5, 1: 3, 2: 1}
    assert order == task_order([5, 3, 1], seed=1, epoch=0)
    others = [task_order([5, 3, 1], seed=s, epoch=e) for s, e in ((1, 1), (2, 0), (2, 1))]
    assert any(order != other for other in others)


def test_each_task_is_tested_as_alone() -> None:
    whole = execute(spec("method=zero_shot", *TWO), "cpu")
    for name in ("digits", "fashion-mnist"):
        words = ["method=zero_shot", f"data={name}", *TWO[1:]]
        alone = execute(spec(*words, preset="few_shot"), "cpu")
        assert whole.metrics[f"acc/{name}"] == alone.metrics["acc/test"]
        assert whole.metrics[f"acc/val_{name}"] == alone.metrics["acc/val"]
    names = ("acc/digits", "acc/fashion-mnist")
    assert whole.metrics["acc/mean"] == pytest.approx(sum(whole.metrics[n] for n in names) / 2)
    assert whole.tags["dataset"] == "digits+fashion-mnist"
    assert whole.tags["test_reads"] == "1"


def test_a_head_tells_all_classes_and_each_task_reads_its_own() -> None:
    found = spec("method=linear_probe", "data=digits,fashion-mnist", "train.epochs=20")
    result = execute(found, "cpu")
    assert result.counts is not None
    assert result.counts.head == check_spec(found).head == result.state["head.bias"].numel() * 129
    assert len(result.state["head.bias"]) == 20
    assert all(p.predicted.max() < 10 for p in result.predictions)
    assert min(result.metrics["acc/digits"], result.metrics["acc/fashion-mnist"]) > 60


def test_a_run_repeats_to_the_bit_with_a_batch_of_each_set() -> None:
    one, two = (execute(spec("method=lora", *TWO), "cpu", test=False) for _ in range(2))
    assert len(one.losses) == 2
    assert one.losses == two.losses
    assert all(torch.equal(v, two.state[n]) for n, v in one.state.items())


def test_the_affinity_is_the_mean_cosine_of_gradients() -> None:
    tower = Tower("image", 1, 4, 1, 4, 5)
    adapter = Adapter(Clip(tower, tower, 4, {}))
    adapter.own("image.a", nn.Parameter(torch.zeros(2)))
    adapter.own("image.b", nn.Parameter(torch.zeros(1)))
    adapter.own("head.c", nn.Parameter(torch.zeros(9)))
    found = GradientAffinity(adapter, 3, torch.device("cpu"))
    steps = [(0, [1.0, 0.0, 0.0]), (1, [1.0, 1.0, 0.0]), (0, [0.0, -2.0, 0.0])]

    def step(task: int, **named: Tensor) -> None:
        named = {name.replace("_", "."): value for name, value in named.items()}
        found.after_step(task, SimpleNamespace(gradients=lambda: named))  # type: ignore[arg-type]

    for task, gradient in steps:
        both = torch.tensor(gradient)
        step(task, image_a=both[:2], image_b=both[2:], head_c=torch.ones(9))
    half = 0.5**0.5  # cosines 1/sqrt(2), then -1/sqrt(2): the mean is 0
    expected = torch.eye(3)
    torch.testing.assert_close(found.matrix(), expected)
    step(2, image_a=torch.tensor([0.0, -1.0]))
    expected[0, 2] = expected[2, 0] = 1.0
    expected[1, 2] = expected[2, 1] = -half
    torch.testing.assert_close(found.matrix(), expected)


def test_stages_on_one_other_set_are_few_shot_and_the_rest_is_as_the_run() -> None:
    whole = spec("method=mera", "data=digits,fashion-mnist", "method.sources=1,flags")
    found = stages.stage_specs(whole)
    assert found["1"].protocol == "multi_task"
    assert (found["flags"].protocol, found["flags"].data.name) == ("few_shot", "flags")
    check_sources(whole)


def test_what_is_seen_is_what_all_parts_see() -> None:
    whole = spec("method=lora", *TWO)
    each = [leakage.data_use(part) for part in whole.task_specs()]
    found = leakage.data_use(whole)
    assert found.train == each[0].train | each[1].train
    assert found.held == each[0].held | each[1].held
    assert len(found.tables) == 2


def test_from_the_command_line_to_the_board_and_the_picture(
    capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    words = ["suite", "multi_task", "methods=lora,clip_adapter", *TWO]
    assert main.call([*words, "seeds=1", "-q"]) == 0
    capsys.readouterr()
    assert main.call(["leaderboard", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["dataset"] for row in rows} == {"digits+fashion-mnist"}
    for row in rows:
        both = row["acc/digits_mean"] + row["acc/fashion-mnist_mean"]
        assert row["acc/mean_mean"] == pytest.approx(both / 2)
    text = (own_home / "report" / "leaderboard.md").read_text()
    assert "| digits | fashion-mnist | mean |" in text
    assert (own_home / "report" / "affinity.png").stat().st_size > 1000
    csv = (own_home / "report" / "affinity.csv").read_text()
    assert "lora,digits+fashion-mnist,digits,fashion-mnist," in csv
    assert main.call(["verify", str(own_home / "report" / "affinity.csv")]) == 0
    first = (own_home / "report" / "affinity.svg").read_bytes()
    assert main.call(["leaderboard", "--protocol", "multi_task"]) == 0
    assert (own_home / "report" / "affinity.svg").read_bytes() == first
    assert (
        main.call(["suite", "multi_task", "methods=lora", "data=digits+flags,icon-concepts"]) == 2
    )
    assert "stands alone" in capsys.readouterr().err
    assert "multi_task" in {row[0] for row in listing.read_listing("protocols")[1]}
