"""Validation checkpoints of a run: validation data only, and nothing of the run changes."""

import dataclasses
import time
from pathlib import Path

import pytest
import torch

import methods
from harness.data.split import Images, load_split
from harness.evaluate import cost
from harness.evaluate import predict as predict_module
from harness.evaluate.predict import Predictions
from harness.model.backbone import load_backbone
from harness.model.classifier import Classifier
from harness.run import config
from harness.run.execute import execute
from harness.run.pruning import Checkpoint, PruningRule
from harness.run.result import Result
from harness.spec.spec import Spec
from harness.tracking import pending_records
from harness.tracking.ledger import Ledger
from tests.attempts import attempt
from tests.method_variants import VARIANTS

SHORT = ["train.epochs=4", "data=digits", "shots=2", "train.batch_size=8"]
TIMED = {
    "time/train_seconds", "time/step_ms", "time/stages_seconds",
    "memory/peak_bytes", "memory/stages_bytes",
}  # fmt: skip
GATED = "adaring-input_gate"  # whose temperature follows the progress of training
TRAINED = [name for name in methods.names() if name != "zero_shot"]


def spec_of(case: str, *words: str) -> Spec:
    name = case.partition("-")[0]
    given = {word.partition("=")[0] for word in words}
    short = [word for word in SHORT if word.partition("=")[0] not in given]
    spec = config.build("base_to_novel", [*short, f"method={name}", *words])
    return dataclasses.replace(spec, method=VARIANTS[case]) if case in VARIANTS else spec


def every_epoch(seen: list[Checkpoint], until: int = 99) -> PruningRule:
    def goes_on(checkpoint: Checkpoint) -> bool:
        seen.append(checkpoint)
        return checkpoint.epoch < until

    return PruningRule(frozenset(range(1, 99)), goes_on)


def files(result: Result, folder: Path) -> dict[str, bytes]:
    entry = pending_records.write(folder, result)
    return {p.name: p.read_bytes() for p in entry.folder.iterdir() if p.suffix == ".parquet"}


@pytest.mark.parametrize("case", [*TRAINED, GATED])
def test_checkpoints_change_nothing_bit_for_bit(case: str, tmp_path: Path) -> None:
    seen: list[Checkpoint] = []
    words = ("method.dropout=0.2",) if case == "lora" else ()
    test = case in ("lora", GATED)  # equal states give equal predictions
    plain = execute(spec_of(case, *words), "cpu", test=test)
    torch.manual_seed(1)
    watched = execute(spec_of(case, *words), "cpu", test=test, pruning=every_epoch(seen))
    assert [checkpoint.epoch for checkpoint in seen] == [1, 2, 3]  # none after the last epoch
    assert watched.checkpoints == seen
    assert watched.status == "finished"
    assert watched.losses == plain.losses
    assert set(watched.state) == set(plain.state)
    assert all(torch.equal(watched.state[name], plain.state[name]) for name in plain.state)
    for name in plain.metrics.keys() - TIMED:
        assert watched.metrics[name] == plain.metrics[name], name
    assert files(watched, tmp_path / "watched") == files(plain, tmp_path / "plain")


def test_a_checkpoint_is_what_a_shorter_training_at_a_constant_learning_rate_reaches() -> None:
    """Without a schedule, the state after two of four epochs is that of a run of two."""
    flat = ("train.warmup=0", "train.final_lr=1")
    seen: list[Checkpoint] = []
    execute(spec_of("lora", *flat), "cpu", test=False, pruning=every_epoch(seen))
    short = execute(spec_of("lora", *flat, "train.epochs=2"), "cpu", test=False)
    names = ("acc/val", "acc/val_novel", "acc/val_hmean")
    assert seen[1].scores == {name: short.metrics[name] for name in names}


def test_a_checkpoint_reads_validation_images_only(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of("clip_adapter")
    split = load_split(spec, load_backbone(spec.backbone).transform)
    allowed = {part.ids for part in split.val}
    read: list[tuple[int, ...]] = []
    predict = predict_module.predict

    def watched(net: Classifier, images: Images, recurring: bool = False) -> Predictions:
        read.append(images.ids)
        return predict(net, images, recurring)

    monkeypatch.setattr(predict_module, "predict", watched)
    result = execute(spec, "cpu", test=False, pruning=every_epoch([]))
    assert len(read) == 4 * len(split.val)
    assert set(read) == allowed
    assert result.tags["test_reads"] == "0"


def test_a_run_that_is_ended_is_no_result_and_says_where(tmp_path: Path) -> None:
    seen: list[Checkpoint] = []
    result = attempt(spec_of("lora"), pruning_rules=[every_epoch(seen, until=2)])
    assert result.status == "pruned"
    assert result.error == "ended after epoch 2 of 4"
    assert len(result.losses) == 4
    assert not [name for name in result.metrics if name.startswith(("acc/", "ece/"))]
    assert result.metrics["params/trainable"] > 0
    assert result.tags["test_reads"] == "0"
    assert not result.predictions
    assert not result.state
    ledger = Ledger(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    assert ledger.record(result)
    (run,) = ledger.runs()
    assert run.status == "pruned"
    assert ledger._client.get_run(run.id).info.status == "KILLED"
    assert ledger.find(result.spec.digest(), test=False) is None
    assert not ledger.finished()
    assert not [name for name in run.metrics if name.startswith(("acc/", "midway/"))]
    assert ledger.checkpoint_scores(run.id, "acc/val") == {
        look.epoch: look.scores["acc/val"] for look in seen
    }


def test_a_pause_counts_neither_as_time_nor_as_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 10.0, 17.0, 30.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    with cost.measure_training(torch.device("cpu")) as meter, meter.paused():
        block = torch.ones(64 * 2**20)  # 256 MiB
        del block
    assert meter.train_seconds == 23.0
    now = iter([0.0, 1.0])
    with cost.measure_training(torch.device("cpu")) as full:
        block = torch.ones(64 * 2**20)
        del block
    assert full.peak_bytes - meter.peak_bytes > 200 * 2**20
