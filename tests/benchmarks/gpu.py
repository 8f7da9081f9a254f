"""What `make gpu-check` measures on a CUDA device, and nothing without one.

    python -m tests.benchmarks.gpu [--json FILE]

ViT-B/16 in bf16 at random weights, 32 images a step, 100 classes: AdaRing and LoRA, trials side by
side; steps a second, the share of what products of one size reach, and peak memory. That trials
side by side give the losses of trials alone is checked first.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from harness import backbone as backbones
from harness import versions
from harness.backbone import Backbone
from harness.batch import Batch
from harness.classifier import Classifier
from harness.crew import Crew, Trial
from harness.spec import BackboneSpec, TrainSpec
from harness.step import train_step
from methods import Method, Task
from methods.adaring import AdaRing
from methods.lora import LoRA
from tests.benchmarks.arms import TEMPLATE, names

ROOT = Path(__file__).parents[2]
STILL = TrainSpec(lr=1e-30, weight_decay=0.0)
METHODS: dict[str, Method] = {"adaring": AdaRing(), "lora": LoRA(rank=4)}


def stepper(
    method: Method, model: Backbone, trials: int, images: int, classes: int
) -> Callable[[], torch.Tensor]:
    """A training step of trials side by side; it returns their losses."""
    prompts = model.prompts(TEMPLATE, names(classes))
    task = Task(names(classes), TEMPLATE, prompts.ids)
    adapters = []
    for k in range(trials):
        torch.manual_seed(k)
        with torch.device(model.device):
            adapters.append(method.attach(model.clip, task))
    crew = Crew([Trial(a, STILL, 1, None, method) for a in adapters])
    rng = torch.Generator().manual_seed(0)
    size = (images, 3, *model.image.shape.image_size)
    pixels = torch.randint(0, 256, size, dtype=torch.uint8, generator=rng).to(model.device)
    labels = (torch.arange(images) % classes).to(model.device)
    batch = Batch(pixels, labels, torch.arange(images, device=model.device))
    net = Classifier(model, adapters[0], prompts, rig=crew.rig)
    return lambda: train_step(net, crew, batch)[0]


def measured(
    model: Backbone, trials: tuple[int, ...], images: int = 32, classes: int = 100, steps: int = 20
) -> list[dict[str, Any]]:
    """A row for each method and number of trials. Raises AssertionError where results differ."""
    peak = product_rate(model.device)
    rows = []
    for name, method in METHODS.items():
        alone = stepper(method, model, 1, images, classes)()
        for count in trials:
            step = stepper(method, model, count, images, classes)
            torch.testing.assert_close(step()[:1], alone, atol=0.02, rtol=0.02)
            with FlopCounterMode(display=False) as counter:
                step()
            reset(model.device)
            seconds = timed(step, model.device, steps)
            rate = counter.get_total_flops() / seconds
            rows.append(
                {"method": name, "trials": count, "steps_per_second": count / seconds,
                 "operations_per_second": rate, "share_of_products": rate / peak,
                 "peak_bytes": peak_bytes(model.device)}
            )  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
    return rows


def timed(run: Callable[[], object], device: torch.device, steps: int) -> float:
    """Seconds a call, after three to warm up."""
    for _ in range(3):
        run()
    wait(device)
    began = time.perf_counter()
    for _ in range(steps):
        run()
    wait(device)
    return (time.perf_counter() - began) / steps


def product_rate(device: torch.device, size: int = 0) -> float:
    """Operations a second of square bf16 products."""
    size = size or (8192 if device.type == "cuda" else 512)
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    return 2 * size**3 / timed(lambda: a @ a, device, 20)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu")
    parser.add_argument("--json", type=Path, help="instead of reports/measured/<device>.json")
    given = parser.parse_args(words)
    if not torch.cuda.is_available():
        print("gpu-check: no CUDA device here; nothing was checked and nothing was written")
        return 0
    files = ("harness/test_tower.py", "harness/test_crew.py", "methods/test_contract.py")
    tests = [sys.executable, "-m", "pytest", *(f"tests/{name}" for name in files)]
    code = subprocess.run(tests, cwd=ROOT, check=False).returncode
    if code:
        print("gpu-check: tests fail; nothing was measured")
        return code
    device = torch.device("cuda")
    spec = BackboneSpec("ViT-B-16-quickgelu", "random", "bf16")
    name = versions.device_name(device)
    facts = {
        "device": name,
        "date": time.strftime("%Y-%m-%d"),
        "commit": versions.git()[0],
        "versions": versions.libraries(),
        "what": __doc__.split("\n\n")[2],
        "rows": measured(backbones.load(spec, device), (1, 4, 8, 16)),
    }
    path = given.json or ROOT / "reports" / "measured" / f"{name.replace(' ', '-').lower()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=1) + "\n")
    print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
