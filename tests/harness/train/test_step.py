"""Where memory runs out, a step passes in parts and is the same step."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import methods
from harness.cli import main
from harness.evaluate.predict import predict
from harness.model import out_of_memory
from harness.model.out_of_memory import ChunkedCall
from harness.run import config
from harness.run.execute import prepare_run
from harness.run.prepare import PreparedRun
from harness.train import gradients
from harness.train.batches import Batch
from harness.train.gradients import _accumulate
from harness.train.step import MICRO_BATCH_TAG
from harness.train.teacher import FrozenTeacher
from harness.train.trial_group import Trial, TrialGroup
from tests.attempts import attempt

CPU = torch.device("cpu")
TINY = Path(__file__).parents[2] / "tiny" / "flat.json"
FEW = ["data=digits", "shots=3", "train.epochs=1", "train.batch_size=7"]
FEW += [f"backbone={TINY}", "pretrained=random"]
FULL = torch.OutOfMemoryError("CUDA out of memory")


def ready(*words: str) -> tuple[PreparedRun, TrialGroup, Batch, FrozenTeacher | None]:
    """A run before its first step, and a batch of seven images."""
    spec = config.build("base_to_novel", [*FEW, *words])
    run = prepare_run(spec, "cpu")
    train = run.split.trains[0]
    group = TrialGroup([Trial(run.net.adapter, spec.train, spec.seed, (train,))])
    group.train()
    group.advance(0.0, 0)
    rows = torch.arange(7)
    batch = Batch(run.backbone.transform.normalise(train.pixels[rows]), train.labels[rows], rows)
    teacher = FrozenTeacher(run.net, [(train, 1)]) if run.net.wiring.needs_teacher else None
    return run, group, batch, teacher


def taken(words: list[str], parts: int, **others: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    run, group, batch, teacher = ready(*words)
    with torch.no_grad():  # away from the start, where some gradients vanish
        for i, p in enumerate(run.net.adapter.trained().values()):
            shape, rng = p.shape, torch.Generator().manual_seed(i)
            p.add_(0.02 * torch.randn(shape, generator=rng))
    loss, right = gradients.train_step(run.net, group, batch, 3, 0.25, teacher, parts)
    return loss, right, {name: g.clone() for name, g in group.gradients().items()}


TRAINED = [name for name in methods.names() if name != "zero_shot"]


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_in_parts_is_the_step(name: str) -> None:
    words = [f"method={name}"] + (["method.host=lora"] if name == "coto" else [])
    loss, right, gradients = taken(words, 1)
    if not gradients:
        pytest.fail(f"{name} has no gradients")
    for parts in (2, 7):
        again, hits, found = taken(words, parts)
        assert again.item() == pytest.approx(loss.item(), rel=1e-5)
        assert torch.equal(hits, right)
        assert found.keys() == gradients.keys()
        for key, expected in gradients.items():
            size = expected.abs().max().item()
            assert torch.allclose(found[key], expected, rtol=1e-3, atol=1e-4 * size + 1e-8), key


def test_each_image_keeps_its_dropout() -> None:
    words = ["method=lora", "method.dropout=0.5"]
    _, _, gradients = taken(words, 1)
    _, _, found = taken(words, 3)
    for key, expected in gradients.items():
        assert torch.allclose(found[key], expected, rtol=1e-3, atol=1e-6), key


def short(most: int) -> Callable[..., Any]:
    """A step that has no room for more than ``most`` images."""
    whole = _accumulate

    def gradients(net: Any, group: Any, batch: Any, cut: slice, *rest: Any) -> Any:
        if cut.stop - cut.start > most:
            raise FULL
        return whole(net, group, batch, cut, *rest)

    return gradients


def test_a_run_goes_on_in_smaller_parts_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = config.build(
        "base_to_novel", ["data=digits", "shots=3", "train.epochs=3", "method=lora"]
    )
    expected = attempt(spec, test=False)
    assert MICRO_BATCH_TAG not in expected.tags
    monkeypatch.setattr(gradients, "_accumulate", short(4))
    found = attempt(spec, test=False)
    assert found.status == "finished"
    assert found.tags[MICRO_BATCH_TAG] == "4"  # of 15
    assert found.losses == pytest.approx(expected.losses, rel=1e-4)
    assert found.metrics["acc/val"] == expected.metrics["acc/val"]
    monkeypatch.setattr(gradients, "_accumulate", short(0))
    lost = attempt(spec, test=False)
    assert lost.status == "out_of_memory"
    assert "method.layers" in lost.error


def test_evaluation_goes_on_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    run, *_ = ready("method=lora")
    images = run.split.train
    expected = predict(run.net, images)
    image, seen = type(run.net).image, []

    def scarce(self: Any, x: Tensor, *rest: Any, **named: Any) -> Tensor:
        seen.append(len(x))
        if len(x) > 5:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate ...")
        return image(self, x, *rest, **named)

    monkeypatch.setattr(type(run.net), "image", scarce)
    found = predict(run.net, images)
    assert found.predicted.tolist() == expected.predicted.tolist()
    assert found.p_label == pytest.approx(expected.p_label, abs=1e-5)
    assert sum(n for n in seen if n <= 5) == len(images)


def test_rows_one_by_one_are_the_least() -> None:
    def full(x: Tensor) -> Tensor:
        raise MemoryError

    with pytest.raises(MemoryError):
        ChunkedCall(full)(torch.zeros(8, 2))
    assert ChunkedCall(lambda x: x)(torch.zeros(0, 2)).shape == (0, 2)


@pytest.mark.parametrize("error", [KeyError("out of memory"), RuntimeError("shapes differ")])
def test_other_errors_are_no_lack_of_memory(error: Exception) -> None:
    assert not out_of_memory.is_out_of_memory(error)


LIMITED = """
import json, resource
import torch
torch.set_num_threads(1)
from harness.run import config, execute
words = ["data=digits", "method=lora", "train.epochs=1", "shots=28"]
def tried(batch):
    spec = config.build("few_shot", [*words, f"train.batch_size={batch}"])
    (found,) = execute.execute_all([spec], test=False)
    print(json.dumps([found.status, found.tags.get("micro_batch"), found.losses, found.error]))
tried(20)  # what is loaded once
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (300 << 20), -1))
tried(280)
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
tried(280)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
def test_memory_that_really_runs_out() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    tight, roomy = map(json.loads, done.stdout.splitlines()[-2:])
    assert (roomy[0], roomy[1]) == ("finished", None)
    assert tight[0] == "finished", tight
    assert int(tight[1]) < 280
    assert tight[2] == pytest.approx(roomy[2], rel=1e-3)


def test_the_user_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gradients, "_accumulate", short(4))
    words = ["run", "base_to_novel", *FEW, "method=linear_probe"]
    assert main.call(words) == 0
    assert "split into parts of at most 4 images" in capsys.readouterr().err
    assert main.call([*words, "--json"]) == 0  # already recorded
    assert json.loads(capsys.readouterr().out)["steps"] == {MICRO_BATCH_TAG: "4"}
