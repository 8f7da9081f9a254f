"""Runs side by side end as each does alone, whatever happens to the others."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.run import config, cotrain, execute, grouping
from harness.run.pruning import Checkpoint, PruningRule
from harness.run.result import Result
from harness.spec.spec import Spec
from harness.train.trial_group import TrialGroup
from methods.kit.core.errors import UsageError
from tests.attempts import attempt

CPU = torch.device("cpu")
FEW = ["data=digits", "shots=2", "train.epochs=3", "train.batch_size=4"]


def specs(*words: Sequence[str], few: Sequence[str] = FEW) -> list[Spec]:
    """What is said last of a key counts."""
    said = ({w.partition("=")[0]: w for w in (*few, *mine)} for mine in words)
    return [config.build("base_to_novel", list(mine.values())) for mine in said]


RUNS = specs(
    ["method=lora", "train.lr=1e-3"],
    ["method=lora", "train.lr=5e-3", "seed=2"],
    ["method=lora", "method.rank=5"],
    ["method=adaring"],
    ["method=clip_adapter"],
)


def compared(found: Result, expected: Result) -> None:
    assert found.status == expected.status == "finished"
    assert found.losses == pytest.approx(expected.losses, rel=2e-3)
    for mine, theirs in zip(found.predictions, expected.predictions, strict=True):
        assert mine.part == theirs.part
        assert mine.ids.tolist() == theirs.ids.tolist()
        assert mine.p_label == pytest.approx(theirs.p_label, abs=2e-3)
    same = ("params/trainable", "params/inference", "bytes/adapter", "cache/bytes")
    assert [found.metrics[k] for k in same[:3]] == [expected.metrics[k] for k in same[:3]]
    tags = set(expected.tags) - {"cache"}
    assert {k: found.tags[k] for k in tags} == {k: expected.tags[k] for k in tags}


def test_methods_rates_and_seeds_side_by_side_are_what_they_are_alone() -> None:
    found = {r.spec: r for r in execute.execute_all(RUNS)}
    assert list(found) == RUNS
    for spec in RUNS:
        compared(found[spec], attempt(spec))
        assert found[spec].tags[cotrain.GROUP_SIZE_TAG] == "5"
        assert found[spec].metrics["time/train_seconds"] > 0


def test_one_that_is_pruned_leaves_and_the_others_go_on() -> None:
    seen: list[Checkpoint] = []

    def stop(look: Checkpoint) -> bool:
        seen.append(look)
        return False

    watches = [None, PruningRule(frozenset({1}), stop), None]
    found = {r.spec: r for r in execute.execute_all(RUNS[:3], pruning_rules=watches)}
    assert found[RUNS[1]].status == "pruned"
    assert len(found[RUNS[1]].losses) == len(found[RUNS[0]].losses) // 3
    alone = attempt(RUNS[1], pruning_rules=[PruningRule(frozenset({1}), lambda look: False)])
    assert found[RUNS[1]].checkpoints == alone.checkpoints == seen
    assert found[RUNS[1]].error == alone.error
    for spec in (RUNS[0], RUNS[2]):
        compared(found[spec], attempt(spec))


def test_one_that_diverges_fails_and_the_others_finish() -> None:
    bad = replace(RUNS[0], train=replace(RUNS[0].train, lr=1e30))
    found = {r.spec: r for r in execute.execute_all([RUNS[0], bad, RUNS[2]])}
    assert found[bad].status == "failed"
    assert found[bad].error == attempt(bad).error
    for spec in (RUNS[0], RUNS[2]):
        compared(found[spec], attempt(spec))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("a bug of one")])
def test_when_it_goes_wrong_smaller_groups_are_tried(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    begin = TrialGroup.__init__

    def group(self: TrialGroup, trials: Any, *rest: Any) -> None:
        made.append(len(trials))
        if len(trials) > 2:
            raise error
        begin(self, trials, *rest)

    monkeypatch.setattr(TrialGroup, "__init__", group)
    found = {r.spec: r for r in execute.execute_all(RUNS[:4])}
    assert made == ([4, 2, 2] if isinstance(error, MemoryError) else [4, 1, 1, 1, 1])
    monkeypatch.undo()
    for spec in RUNS[:4]:
        compared(found[spec], attempt(spec))


def test_without_the_test_split_nothing_is_kept_of_a_run_but_scores() -> None:
    for result in execute.execute_all(RUNS[:2], test=False):
        assert result.status == "finished"
        assert result.tags["selection"] == "val"
        assert result.tags["test_reads"] == "0"
        assert "acc/val_hmean" in result.metrics
        assert not [k for k in result.metrics if k in ("acc/base", "acc/novel")]
        assert not result.state


# --- who stands beside whom ---------------------------------------------------------------------


def sizes(found: list[grouping.Group]) -> list[int]:
    return [len(group) for group in found]


def test_only_runs_that_share_their_steps_are_put_together() -> None:
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


def test_a_number_is_the_most_that_stand_side_by_side_and_groups_are_even() -> None:
    ten = specs(*(["method=lora", f"train.lr={i + 1}e-4"] for i in range(10)))
    assert sizes(grouping.groups(ten, "4", 1, CPU)) == [4, 4, 2]
    assert sizes(grouping.groups(ten, "1", 1, CPU)) == [1] * 10
    assert sizes(grouping.groups(ten, "off", 1, CPU)) == [1] * 10
    whole = [s for g in grouping.groups(ten, "4", 1, CPU) for s in g]
    assert whole == ten


def test_auto_puts_together_what_shares_work_or_waits_for_launches() -> None:
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


def test_seeds_stand_side_by_side_where_no_prefix_is_shared() -> None:
    head = specs(*(["method=linear_probe", f"seed={i}"] for i in range(4)))
    assert sizes(grouping.groups(head, "auto", 1, CPU)) == [4]
    few = ["data=icon-concepts", "train.augment=crop_flip", "method=lora", "method.layers=top:1"]
    deep = specs(*([f"seed={i}", f"train.lr={r}"] for i in (1, 2) for r in (1e-3, 2e-3)), few=few)
    found = grouping.groups(deep, "auto", 1, CPU)
    assert [{s.seed for s in g} for g in found] == [{1}, {2}]


@pytest.mark.parametrize("word", ["0", "-1", "many", "1.5", ""])
def test_a_word_that_is_no_number_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--cotrain"):
        grouping.parse_size(word)
