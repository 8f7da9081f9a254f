"""A whole run: repeatable, honest about what it saw, and clear about how it failed."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from scipy import stats as scipy_stats

from harness.data import decoded_rows, split
from harness.data.split import load_split
from harness.evaluate import cost, predict, scores
from harness.evaluate.predict import Predictions
from harness.model import frozen_features
from harness.model.backbone import load_backbone
from harness.model.classifier import Classifier
from harness.run import config, prepare
from harness.run.execute import check_spec, execute
from harness.run.prepare import attach
from harness.spec.spec import Spec, TrainSpec
from harness.tracking import pending_records
from harness.train.fit import NonFiniteLoss, fit
from harness.train.flat_parameters import parameter_buffers
from harness.train.optimizer import Optimizer, lr_factor
from harness.train.trial_group import Trial, TrialGroup
from methods.kit.binding.randomness import generator
from methods.kit.contract.adapter import Adapter
from methods.kit.core.errors import UsageError
from tests.attempts import attempt
from tests.methods.adapter_values import load_state

SHORT = ["train.epochs=2", "data=digits", "shots=2"]


def spec(*words: str, preset: str = "base_to_novel") -> Spec:
    given = {word.partition("=")[0] for word in words}
    return config.build(preset, [*(w for w in SHORT if w.partition("=")[0] not in given), *words])


@pytest.mark.parametrize("method", ["adaring", "lora", "clip_adapter", "linear_probe"])
def test_the_same_spec_gives_the_same_bytes(method: str, tmp_path: Path) -> None:
    written = []
    for i in range(2):
        torch.manual_seed(i)  # whatever ran before must not matter
        entry = pending_records.write(tmp_path / str(i), execute(spec(f"method={method}")))
        names = ("predictions.parquet", "adapter.safetensors", "curve.parquet")
        written.append([(entry.folder / name).read_bytes() for name in names])
    assert written[0] == written[1]


def test_another_seed_gives_other_shots_and_other_numbers() -> None:
    one, two = (execute(spec("method=lora", f"seed={s}")) for s in (1, 2))
    assert one.tags["subset_hash"] != two.tags["subset_hash"]
    assert one.tags["data_hash"] == two.tags["data_hash"]
    assert one.losses != two.losses


def test_a_result_says_what_it_saw() -> None:
    result = execute(spec("method=linear_probe"))
    assert result.tags["test_reads"] == "1"
    assert result.tags["selection"] == "last"
    assert set(result.metrics) == {
        "acc/val", "acc/val_novel", "acc/val_hmean", "acc/base", "acc/novel", "acc/hmean",
        "ece/test", "params/trainable", "params/stored", "params/inference", "params/head",
        "bytes/adapter", "time/train_seconds", "time/step_ms", "memory/peak_bytes", "flops/step",
        "cache/bytes", "cache/saved_percent",
    }  # fmt: skip
    for part in result.predictions:
        right = float((part.label == part.predicted).mean()) * 100
        assert result.metrics[f"acc/{part.part}"] == pytest.approx(right)
    assert len(result.losses) == 2 * math.ceil(10 / 32)
    assert result.metrics["memory/peak_bytes"] > 100 * 2**20


def test_zero_shot_equals_open_clips_own_classifier() -> None:
    result = execute(config.build("few_shot", ["method=zero_shot", "data=flags"]))
    backbone = load_backbone(result.spec.backbone)
    split = load_split(result.spec, backbone.transform)
    split.held_out.close_selection()
    (test,) = split.held_out.open()
    import open_clip

    texts = [f"the flag of {name}." for name in test.classnames]
    tokens = open_clip.SimpleTokenizer(context_length=32)(texts)
    with torch.no_grad():
        image = backbone.model.encode_image(backbone.transform.normalise(test.pixels))
        words = backbone.model.encode_text(tokens)
        hits = (F.normalize(image, dim=-1) @ F.normalize(words, dim=-1).T).argmax(1) == test.labels
    assert result.metrics["acc/test"] == pytest.approx(100 * hits.float().mean().item(), abs=0.01)


def test_kept_features_give_what_pixels_give() -> None:
    backbone = load_backbone(config.build("few_shot", ["method=zero_shot"]).backbone)
    split = load_split(spec("method=clip_adapter"), backbone.transform)
    net = attach(spec("method=clip_adapter"), backbone, split)
    bound = net.adapter.bind()
    kept = net.inputs(split.train)
    assert kept.shape == (len(split.train), backbone.clip.dim)
    with torch.no_grad():
        torch.testing.assert_close(
            net(kept, bound).logits, net(split.train.pixels, bound).logits, atol=1e-4, rtol=1e-4
        )
    assert frozen_features.image_features(backbone, split.train) is kept


def test_classes_that_were_not_trained_are_scored_by_their_text() -> None:
    trained = execute(spec("method=linear_probe"))
    plain = execute(spec("method=zero_shot"))
    assert trained.metrics["acc/novel"] == plain.metrics["acc/novel"]
    assert trained.metrics["acc/base"] != plain.metrics["acc/base"]


def test_augmented_pixels_train_a_head_too() -> None:
    plain = execute(spec("method=clip_adapter"))
    augmented = execute(spec("method=clip_adapter", "train.augment=crop_flip"))
    again = execute(spec("method=clip_adapter", "train.augment=crop_flip"))
    assert augmented.losses != plain.losses
    assert augmented.losses == again.losses


def test_a_loss_that_is_not_finite_ends_the_run_and_says_when() -> None:
    result = attempt(spec("method=lora", "train.lr=1e30", "train.warmup=0", "train.epochs=4"))
    assert result.status == "failed"
    assert "the loss is nan at step" in result.error or "the loss is inf at step" in result.error
    step = int(result.error.split("at step ")[1].split(";")[0])
    assert 2 <= step <= 4
    assert not result.metrics


def test_a_bug_in_a_method_is_a_failed_run_with_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "attach", lambda *a: 1 / 0)
    result = attempt(spec("method=lora"))
    assert result.status == "failed"
    assert result.error == "ZeroDivisionError: division by zero"
    assert "1 / 0" in result.trace


def test_running_out_of_memory_is_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(prepare, "attach", full)
    result = attempt(spec("method=lora"))
    assert result.status == "out_of_memory"
    assert "method.layers" in result.error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method=lora", "method.rank=9000"], "method.rank: 9000 is larger than the width"),
        (
            ["method=adaring", "method.form=adapter", "method.bottleneck=9000"],
            "9000 is larger than the width",
        ),
        (["method=adaring", "method.ring_rank=9000"], "method.ring_rank: 9000 is larger"),
        (["method=adaring", "method.slice_size=[2, 9000]"], "method.slice_size: 9000 is larger"),
        (["method=lora", "method.layers=900"], "'900' is not within 1-"),
        (["method=lora", "method.layers=3-1"], "'3-1' is not within 1-"),
        (["method=lora", "method.layers=1-999999999999"], "'1-999999999999' is not within 1-"),
        (["method=lora", "method.layers=1-"], "expected 'all', 'top:4'"),
        (["method=lora", "method.layers=top:900"], "asks for 900 blocks, the image tower has"),
        (["method=lora", "method.layers=upper"], "expected 'all', 'top:4'"),
        (["method=lora", "method.sites=[]"], "method.sites: name at least one"),
        (["method=lora", "method.towers=[]"], "method.towers: name at least one"),
        (["method=lora", "shots=60"], "data.shots: class"),
    ],
)
def test_what_cannot_be_run_is_found_before_anything_is_read(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded_rows, "decode_rows", lambda *a: pytest.fail("images were decoded"))
    chosen = config.build("base_to_novel", ["data=digits", *words])
    with pytest.raises(UsageError) as raised:
        check_spec(chosen)
    assert message in str(raised.value)


# --- the loop ---------------------------------------------------------------------------------


def test_the_schedule_warms_up_and_follows_a_cosine() -> None:
    cfg = TrainSpec(warmup=0.2, final_lr=0.1)
    rates = [lr_factor(t, 50, cfg) for t in range(50)]
    assert rates[:10] == pytest.approx([(t + 1) / 11 for t in range(10)])
    expected = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * t / 40)) for t in range(40)]
    assert rates[10:] == pytest.approx(expected)


def test_weights_decay_and_vectors_do_not() -> None:
    backbone = load_backbone(spec("method=lora").backbone)
    chosen = spec("method=linear_probe", "train.weight_decay=0.3")
    net = attach(chosen, backbone, split.load_split(chosen, backbone.transform))
    group = TrialGroup([Trial(net.adapter, chosen.train)])
    decays = {p: g["weight_decay"] for g in group.optimizer.param_groups for p in g["params"]}
    found = {n: decays[b.rows[0]] for b in group.buffers for n in b.names}
    assert found == {"head.weight": 0.3, "head.bias": 0.0}


def test_one_step_of_sgd_is_the_textbooks() -> None:
    words = ["method=linear_probe", "train.optimizer=sgd", "train.weight_decay=0", "train.warmup=0"]
    chosen = spec(*words, "train.epochs=1", "train.lr=0.01")
    backbone = load_backbone(chosen.backbone)
    split = load_split(chosen, backbone.transform)
    net = attach(chosen, backbone, split)
    list(fit(net, split.train, chosen.train, seed=1))
    image = F.normalize(frozen_features.image_features(backbone, split.train), dim=-1)
    scale = net.scale(net.adapter.bind())
    # from zero, softmax is uniform: the gradient of W is scale * mean((1/C - onehot) x)
    error = torch.full((len(split.train), 5), 0.2)
    error[torch.arange(len(split.train)), split.train.labels] -= 1
    gradient = scale * error.T @ image / len(split.train)
    found = net.adapter.values()["head.weight"]
    torch.testing.assert_close(found.detach(), -0.01 * gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_training_is_torchs_own_optimiser_on_the_same_batches(optimizer: str) -> None:
    words = ["method=linear_probe", f"train.optimizer={optimizer}", "train.weight_decay=0.1"]
    words += ["train.lr=0.02", "train.clip_grad=0.5", "train.batch_size=4", "train.epochs=3"]
    chosen = spec(*words, "train.momentum=0.8", "train.final_lr=0.1", "train.warmup=0.3")
    backbone = load_backbone(chosen.backbone)
    split = load_split(chosen, backbone.transform)
    net = attach(chosen, backbone, split)
    rows = list(fit(net, split.train, chosen.train, seed=1))
    image = F.normalize(frozen_features.image_features(backbone, split.train), dim=-1)
    n, total = len(image), 3 * math.ceil(len(image) / 4)
    weight = torch.zeros(net.prompts.ids.shape[0], image.shape[1], requires_grad=True)
    bias = torch.zeros(len(weight), requires_grad=True)
    groups = [{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}]
    theirs: torch.optim.Optimizer = torch.optim.AdamW(groups, lr=0.02, weight_decay=0.1)
    if optimizer == "sgd":
        theirs = torch.optim.SGD(groups, lr=0.02, weight_decay=0.1, momentum=0.8)
    rate = torch.optim.lr_scheduler.LambdaLR(theirs, lambda t: lr_factor(t, total, chosen.train))
    scale, losses = net.scale(net.adapter.bind()), []
    for epoch in range(3):
        order = torch.randperm(n, generator=generator(1, "order", epoch))
        for part in order.split(4):
            loss = F.cross_entropy(scale * image[part] @ weight.T + bias, split.train.labels[part])
            theirs.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([weight, bias], 0.5)
            theirs.step()
            rate.step()
            losses.append(loss.item())
    assert [x for row in rows for x in row.losses] == pytest.approx(losses, rel=1e-4)
    mine = net.adapter.values()
    torch.testing.assert_close(mine["head.weight"].detach(), weight.detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mine["head.bias"].detach(), bias.detach(), atol=1e-5, rtol=1e-4)


def test_a_rate_of_its_own_multiplies_the_learning_rate() -> None:
    backbone = load_backbone(spec("method=lora").backbone)
    adapter = Adapter(backbone.clip)
    for name, rate in (("image.slow", 1.0), ("image.fast", 16.0)):
        adapter.own(name, torch.nn.Parameter(torch.zeros(2, 2)), rate)
    buffers = parameter_buffers([adapter])
    optimizer = Optimizer([(b.rows[0], b.group, TrainSpec(lr=0.5)) for b in buffers])
    lrs = {id(group["params"][0]): group["lr"] for group in optimizer.param_groups}
    found = {b.names: lrs[id(b.rows[0])] for b in buffers}
    assert found == {("image.slow",): 0.5, ("image.fast",): 8.0}


def test_clipping_bounds_the_gradient() -> None:
    words = ["method=linear_probe", "train.optimizer=sgd", "train.weight_decay=0", "train.warmup=0"]
    chosen = spec(*words, "train.epochs=1", "train.lr=1", "train.clip_grad=0.001")
    result = execute(chosen)
    moved = math.sqrt(sum(float(v.square().sum()) for v in result.state.values()))
    assert moved == pytest.approx(0.001, rel=1e-3)


def test_a_loss_that_is_not_finite_raises_from_the_loop() -> None:
    chosen = spec("method=linear_probe", "train.lr=1e38", "train.epochs=30", "train.warmup=0")
    backbone = load_backbone(chosen.backbone)
    split = load_split(chosen, backbone.transform)
    with pytest.raises(NonFiniteLoss) as raised:
        list(fit(attach(chosen, backbone, split), split.train, chosen.train, seed=1))
    assert raised.value.step > 1


# --- scores and costs -------------------------------------------------------------------------


def predictions(confidence: list[float], right: list[bool]) -> Predictions:
    label = np.zeros(len(right), dtype=np.int64)
    predicted = np.where(right, 0, 1)
    chance = np.array(confidence)
    return Predictions("test", np.arange(len(right)), label, predicted, chance, chance)


def test_the_calibration_error_of_a_worked_example() -> None:
    # two bins: confidence 0.95 with 3 of 4 right, 0.65 with 1 of 2 right
    found = scores.expected_calibration_error(
        [predictions([0.95] * 4 + [0.65] * 2, [True, True, True, False, True, False])]
    )
    assert found == pytest.approx(100 * (4 / 6 * 0.20 + 2 / 6 * 0.15))


def test_a_calibrated_classifier_has_nearly_no_calibration_error() -> None:
    chance = scipy_stats.uniform(0.5, 0.5).rvs(20_000, random_state=0)
    right = scipy_stats.uniform().rvs(20_000, random_state=1) < chance
    assert scores.expected_calibration_error([predictions(list(chance), list(right))]) < 1.5


def test_operations_are_counted_exactly_for_a_probe() -> None:
    result = execute(spec("method=linear_probe", "method.bias=false"))
    # forward image @ W.T and the gradient of W: two products of 10 x 128 x 5
    assert result.metrics["flops/step"] == 2 * (2 * 10 * 128 * 5)


def test_peak_memory_sees_an_allocation() -> None:
    with cost.measure_training(torch.device("cpu")) as small:
        torch.zeros(1)
    with cost.measure_training(torch.device("cpu")) as large:
        torch.ones(64 << 20)  # 256 MiB
    assert large.peak_bytes - small.peak_bytes > 200 << 20


def test_bytes_on_disk_are_those_of_the_file(tmp_path: Path) -> None:
    result = execute(spec("method=lora"))
    entry = pending_records.write(tmp_path, result)
    size = (entry.folder / "adapter.safetensors").stat().st_size
    assert result.metrics["bytes/adapter"] == size
    stored = json.loads((entry.folder / "adapter_config.json").read_text())
    assert stored["parameters"]["trainable"] == result.metrics["params/trainable"]
    assert "classifier" not in stored


def test_a_saved_adapter_scores_the_same_again(tmp_path: Path) -> None:
    from harness.run import adapter_files

    chosen = spec("method=adaring")
    result = execute(chosen)
    folder = pending_records.write(tmp_path, result).folder
    stored, state = adapter_files.read(folder)
    again = config.from_dict(stored["spec"])
    assert again == chosen
    backbone = load_backbone(again.backbone)
    split = load_split(again, backbone.transform)
    net = attach(again, backbone, split)
    load_state(net.adapter, state)
    split.held_out.close_selection()
    nets = prepare._test_classifiers(net, split)
    assert isinstance(net, Classifier)
    for mine, first in zip(
        predict.predict_test(nets, split.held_out), result.predictions, strict=True
    ):
        assert mine.predicted.tolist() == first.predicted.tolist()


def test_what_a_method_reports_of_itself_is_kept_as_a_long_table(tmp_path: Path) -> None:
    words = ["method=adaring", "method.form=adapter", "method.combine=input_gate"]
    words += ["method.ranks=[[1,4],[2,6]]"]
    result = execute(spec(*words))
    entry = pending_records.write(tmp_path, result)
    assert "tables.parquet" in [path.name for path in entry.artifacts()]
    rows = pq.read_table(entry.folder / "tables.parquet").to_pylist()
    assert {row["table"] for row in rows} == {"rank_usage"}
    assert [row["row"] for row in rows[:4]] == ["image.1", "image.1", "image.2", "image.2"]
    assert [row["column"] for row in rows[:2]] == ["1x4", "2x6"]
    for row in rows:
        assert result.tables[row["table"]][row["row"]][row["column"]] == row["value"]
    plain = pending_records.write(tmp_path / "plain", execute(spec("method=lora")))
    assert "tables.parquet" not in [path.name for path in plain.artifacts()]
