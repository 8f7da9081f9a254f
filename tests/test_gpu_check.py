"""make gpu-check: what it measures runs on a CPU too; without a GPU nothing is written."""

from pathlib import Path

import pytest
import torch

from harness.model import backbone
from harness.spec.spec import BackboneSpec
from tests.benchmarks import gpu


def test_without_a_gpu_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = tmp_path / "found.json"
    assert gpu.main(["--json", str(path)]) == 0
    assert "no CUDA device" in capsys.readouterr().out
    assert not path.exists()


def test_its_rows_are_of_steps_that_agree() -> None:
    model = backbone.load_backbone(BackboneSpec("embedded"), torch.device("cpu"))
    rows = gpu.measured(model, (1, 2), images=4, classes=3, steps=1)
    assert [(r["method"], r["steps"], r["trials"]) for r in rows] == [
        *((m, how, k) for m in gpu.METHODS for k in (1, 2) for how in ("as ever", "replayed")),
        ("peft on attn", "common loop", 1),
        ("CLIP-LoRA's order", "common loop", 1),
    ]
    assert all(r["steps_per_second"] > 0 and r["operations_per_second"] > 0 for r in rows)


def test_a_sweep_is_timed_whole() -> None:
    words = ("data=digits", "shots=2", "train.epochs=1")
    found = gpu.swept("embedded", 1, *words)
    assert found["trials"] == 1
    assert found["seconds"] > 1
