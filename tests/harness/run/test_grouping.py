"""Which runs are co-trained, from their specs alone."""

from collections.abc import Sequence

import pytest
import torch

from harness.run import config, grouping
from harness.spec.spec import Spec
from methods.kit.core.errors import UsageError

CPU = torch.device("cpu")
FEW = ["data=digits", "shots=2", "train.epochs=3", "train.batch_size=4"]


def specs(*words: Sequence[str], few: Sequence[str] = FEW) -> list[Spec]:
    """The last word of a key counts."""
    said = ({w.partition("=")[0]: w for w in (*few, *mine)} for mine in words)
    return [config.build("base_to_novel", list(mine.values())) for mine in said]


def sizes(found: list[grouping.Group]) -> list[int]:
    return [len(group) for group in found]


def test_only_runs_that_share_their_steps_are_grouped() -> None:
    several = specs(
        ["method=lora"],
        ["method=lora", "train.epochs=4"],
        ["method=lora", "train.batch_size=8"],
        ["method=lora", "shots=1"],
        ["method=lora", "data=fashion-mnist"],
        ["method=lora", "method.dropout=0"],
        ["method=zero_shot"],
        ["method=lora", "method.rank=3", "train.optimizer=sgd", "seed=7"],
    )
    found = grouping.groups(several, "9", 1, CPU)
    assert found == [(several[0], several[7]), *((s,) for s in several[1:7])]


def test_a_number_is_the_largest_group_and_groups_are_even() -> None:
    ten = specs(*(["method=lora", f"train.lr={i + 1}e-4"] for i in range(10)))
    assert sizes(grouping.groups(ten, "4", 1, CPU)) == [4, 4, 2]
    assert sizes(grouping.groups(ten, "1", 1, CPU)) == [1] * 10
    assert sizes(grouping.groups(ten, "off", 1, CPU)) == [1] * 10
    whole = [s for g in grouping.groups(ten, "4", 1, CPU) for s in g]
    assert whole == ten


def test_auto_groups_what_shares_work_or_waits_for_launches() -> None:
    few = ["data=icon-concepts", "train.augment=crop_flip"]

    def auto(*words: str, workers: int = 1) -> list[int]:
        eight = specs(*([*words, f"train.lr={i + 1}e-4"] for i in range(8)), few=few)
        return sizes(grouping.groups(eight, "auto", workers, CPU))

    assert auto("method=lora", "method.layers=all") == [1] * 8
    assert auto("method=lora", "method.layers=top:3") == [8]
    assert auto("method=lora", "method.layers=top:3", "train.augment=none") == [1] * 8
    assert auto("method=clip_adapter") == [8]
    assert auto("method=clip_adapter", workers=2) == [4, 4]
    assert auto("method=zero_shot") == [1] * 8
    gpu = grouping.groups(
        specs(*(["method=lora", f"train.lr={i + 1}e-4"] for i in range(8))),
        "auto",
        1,
        torch.device("cuda"),
    )
    assert sizes(gpu) == [8]


def test_seeds_are_cotrained_where_no_prefix_is_shared() -> None:
    head = specs(*(["method=linear_probe", f"seed={i}"] for i in range(4)))
    assert sizes(grouping.groups(head, "auto", 1, CPU)) == [4]
    few = ["data=icon-concepts", "train.augment=crop_flip", "method=lora", "method.layers=top:1"]
    deep = specs(*([f"seed={i}", f"train.lr={r}"] for i in (1, 2) for r in (1e-3, 2e-3)), few=few)
    found = grouping.groups(deep, "auto", 1, CPU)
    assert [{s.seed for s in g} for g in found] == [{1}, {2}]


@pytest.mark.parametrize("word", ["0", "-1", "many", "1.5", ""])
def test_other_words_are_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--cotrain"):
        grouping.parse_size(word)
