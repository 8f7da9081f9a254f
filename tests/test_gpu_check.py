"""make gpu-check: what it measures runs on a CPU too; without a GPU nothing is written."""

from pathlib import Path

import pytest
import torch

from harness import backbone as backbones
from harness.spec import BackboneSpec
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
    model = backbones.load(BackboneSpec("embedded"), torch.device("cpu"))
    rows = gpu.measured(model, (1, 2), images=4, classes=3, steps=1)
    assert [(r["method"], r["trials"]) for r in rows] == [
        ("adaring", 1), ("adaring", 2), ("lora", 1), ("lora", 2),
    ]  # fmt: skip
    assert all(r["steps_per_second"] > 0 and r["operations_per_second"] > 0 for r in rows)
