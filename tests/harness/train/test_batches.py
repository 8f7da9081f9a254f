"""Batches that are made ahead: the same ones, each made when the step before was launched."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from harness.train.batches import Batch, prefetch, to_device


def batches(log: list[str], count: int) -> Iterator[Batch]:
    for k in range(count):
        log.append(f"make {k}")
        x = torch.full((2, 3), float(k))
        yield Batch(x, torch.tensor([k, k]), torch.arange(2))


def test_on_a_cpu_they_pass_through() -> None:
    log: list[str] = []
    found = prefetch(batches(log, 3), torch.device("cpu"))
    assert [int(batch.labels[0]) for batch in found] == [0, 1, 2]


def test_on_a_gpu_each_is_made_behind_the_step_before(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []

    class Stream:
        def __init__(self, name: object) -> None:
            self.name = name if isinstance(name, str) else "side"

        def wait_stream(self, other: "Stream") -> None:
            log.append(f"{self.name} waits for {other.name}")

    @contextmanager
    def stream(which: Stream) -> Iterator[None]:
        log.append(f"on {which.name}")
        yield
        log.append("back")

    gpu = SimpleNamespace(
        Stream=Stream, stream=stream, current_stream=lambda device: Stream("main")
    )
    monkeypatch.setattr(torch, "cuda", gpu)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, s: log.append(f"held {s.name}"))
    for batch in prefetch(batches(log, 2), SimpleNamespace(type="cuda")):  # type: ignore[arg-type]
        log.append(f"step {int(batch.labels[0])}")
    held = ["held main"] * 3
    assert log == [
        "side waits for main",
        *("on side", "make 0", "back", "main waits for side", *held, "step 0"),
        *("on side", "make 1", "back", "main waits for side", *held, "step 1"),
        *("on side", "back"),
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU")
def test_they_are_the_same_on_a_gpu() -> None:
    device = torch.device("cuda")
    found = []
    for batch in prefetch((b for b in batches([], 50)), device):
        x = to_device(batch.x, device)
        found.append((x @ x.T).sum())
    assert [round(float(f)) for f in found] == [12 * k * k for k in range(50)]
