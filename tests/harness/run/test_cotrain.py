"""Co-trained runs end as each does alone, whatever happens to the others."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.run import config, cotrain, execute
from harness.run.pruning import Checkpoint, PruningRule
from harness.run.result import Result
from harness.spec.spec import Spec
from harness.train.trial_group import TrialGroup
from tests.attempts import attempt

CPU = torch.device("cpu")
FEW = ["data=digits", "shots=2", "train.epochs=3", "train.batch_size=4"]


def specs(*words: Sequence[str], few: Sequence[str] = FEW) -> list[Spec]:
    """The last word of a key counts."""
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


def test_methods_learning_rates_and_seeds_are_cotrained_as_alone() -> None:
    found = {r.spec: r for r in execute.execute_all(RUNS)}
    assert list(found) == RUNS
    for spec in RUNS:
        compared(found[spec], attempt(spec))
        assert found[spec].tags[cotrain.GROUP_SIZE_TAG] == "5"
        assert found[spec].metrics["time/train_seconds"] > 0


def test_a_pruned_run_leaves_and_the_others_go_on() -> None:
    seen: list[Checkpoint] = []

    def stop(checkpoint: Checkpoint) -> bool:
        seen.append(checkpoint)
        return False

    rules = [None, PruningRule(frozenset({1}), stop), None]
    found = {r.spec: r for r in execute.execute_all(RUNS[:3], pruning_rules=rules)}
    assert found[RUNS[1]].status == "pruned"
    assert len(found[RUNS[1]].losses) == len(found[RUNS[0]].losses) // 3
    alone = attempt(RUNS[1], pruning_rules=[PruningRule(frozenset({1}), lambda checkpoint: False)])
    assert found[RUNS[1]].checkpoints == alone.checkpoints == seen
    assert found[RUNS[1]].error == alone.error
    for spec in (RUNS[0], RUNS[2]):
        compared(found[spec], attempt(spec))


def test_a_diverging_run_fails_and_the_others_finish() -> None:
    bad = replace(RUNS[0], train=replace(RUNS[0].train, lr=1e30))
    found = {r.spec: r for r in execute.execute_all([RUNS[0], bad, RUNS[2]])}
    assert found[bad].status == "failed"
    assert found[bad].error == attempt(bad).error
    for spec in (RUNS[0], RUNS[2]):
        compared(found[spec], attempt(spec))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("a bug of one")])
def test_after_an_error_smaller_groups_are_tried(
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


def test_untested_runs_give_scores_alone() -> None:
    for result in execute.execute_all(RUNS[:2], test=False):
        assert result.status == "finished"
        assert result.tags["selection"] == "val"
        assert result.tags["test_reads"] == "0"
        assert "acc/val_hmean" in result.metrics
        assert not [k for k in result.metrics if k in ("acc/base", "acc/novel")]
        assert not result.state
