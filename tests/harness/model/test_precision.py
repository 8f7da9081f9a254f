"""bf16 where it is faster; frozen weights are cast once."""

import gc
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from harness.model import precision
from harness.run import config
from harness.spec.paths import CACHE
from methods.kit.binding import autocast
from methods.kit.binding.linear import plain_linear

AUTO = ["method=lora", "data=digits", "backbone.precision=auto"]


@pytest.mark.parametrize(("times", "found"), [(0.7, "fp32"), (1.05, "fp32"), (2.4, "bf16")])
def test_auto_is_what_was_measured(
    times: float, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(precision, "bf16_speedup", lambda width: asked.append(width) or times)
    spec = config.build("few_shot", AUTO)
    assert spec.backbone.precision == found
    assert asked == [160]  # the embedded image tower
    assert (
        spec.digest()
        == config.build("few_shot", [*AUTO[:2], f"backbone.precision={found}"]).digest()
    )


def test_it_is_measured_once_for_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path))
    calls = []
    monkeypatch.setattr(precision, "measure_speedup", lambda width: calls.append(width) or 1.5)
    for _ in range(2):
        precision.bf16_speedup.cache_clear()  # as in another process
        assert precision.bf16_speedup(32) == 1.5
    assert calls == [32]
    assert len(list(tmp_path.rglob("bf16-*.json"))) == 1
    precision.bf16_speedup.cache_clear()


def test_a_measurement_is_a_ratio() -> None:
    assert 0.01 < precision.measure_speedup(32) < 100


def test_a_frozen_weight_is_cast_once_and_as_autocast_does() -> None:
    x, weight, bias = torch.randn(5, 8), torch.randn(4, 8), torch.randn(4)
    assert autocast.cast_once(weight) is weight
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = F.linear(x, weight, bias)
        assert torch.equal(plain_linear(x, weight, bias), expected)
        assert autocast.cast_once(weight) is autocast.cast_once(weight)
        weight.mul_(2)
        assert torch.equal(plain_linear(x, weight, None), F.linear(x, weight))
        trained = torch.nn.Parameter(weight.clone())
        assert autocast.cast_once(trained) is trained
        assert autocast.cast_once(weight[:2]).dtype == torch.float32
    kept = len(autocast._cast)
    del weight, trained
    gc.collect()
    assert len(autocast._cast) == kept - 1
