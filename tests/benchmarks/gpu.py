"""What `make gpu-check` measures on a CUDA device, and nothing without one.

    python -m tests.benchmarks.gpu [tests] [steps] [sweeps] [suite] [--json FILE]

Without a word all four, in this order; what was measured is written after each.

tests: those that have something to do with a device.
steps: ViT-B/16 in bf16 at random weights, 32 images a step, 100 classes: AdaRing and LoRA, trials
side by side, as ever and replayed; LoRA of peft and in CLIP-LoRA's order as usually run; steps a
second, the share of what products of one size reach, and peak memory. That trials side by side and
replayed give the losses of trials alone is checked first.
sweeps: of 100 ranks, end to end.
suite: every row of `make bench`, by the clock.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from harness.model import backbone
from harness.model.backbone import Backbone
from harness.model.classifier import Classifier
from harness.spec import environment
from harness.spec.spec import BackboneSpec, TrainSpec
from harness.train.batches import Batch
from harness.train.replay import WARM_UP_STEPS, step_recorder
from harness.train.step import Stepper
from harness.train.trial_group import Trial, TrialGroup
from methods.adaring import AdaRing
from methods.kit import Method, Task
from methods.lora import LoRA
from tests.benchmarks import peers, report
from tests.benchmarks.__main__ import suite as rows_of_the_suite
from tests.benchmarks.device import use, wait
from tests.benchmarks.ours import TEMPLATE, names
from tests.benchmarks.reference_loop import folder

ROOT = Path(__file__).parents[2]
PARTS = ("tests", "steps", "sweeps", "suite")
MODEL = "ViT-B-16-quickgelu"
TESTS = (
    "tests/harness/model/test_tower.py",
    "tests/harness/train/test_trial_group.py",
    "tests/harness/train/test_replay.py",
    "tests/harness/train/test_step.py",
    "tests/harness/train/test_batches.py",
    "tests/methods/test_contract.py",
)
RANK = 4
STILL = TrainSpec(lr=1e-30, weight_decay=0.0)
METHODS: dict[str, Method] = {"adaring": AdaRing(), "lora": LoRA(rank=RANK)}


Step = Callable[[], torch.Tensor]


def stepper(
    method: Method, model: Backbone, trials: int, images: int, classes: int, replay: bool
) -> tuple[Step, Stepper]:
    """A training step of trials side by side, which returns their losses; and what takes it."""
    prompts = model.prompts(TEMPLATE, names(classes))
    task = Task(names(classes), TEMPLATE, prompts.ids)
    adapters = []
    for k in range(trials):
        torch.manual_seed(k)
        with torch.device(model.device):
            adapters.append(method.attach(model.clip, task))
    group = TrialGroup([Trial(a, STILL, 1, (), method) for a in adapters])
    batch = batch_of(model, images, classes)
    net = Classifier(model, adapters[0], prompts, wiring=group.wiring)
    take = Stepper(group, recorder=step_recorder(model.device) if replay else None)
    return lambda: take(net, batch, 0, 0.0, None)[0], take


def batch_of(model: Backbone, images: int, classes: int) -> Batch:
    rng = torch.Generator().manual_seed(0)
    size = (images, 3, *model.image.shape.image_size)
    pixels = torch.randint(0, 256, size, dtype=torch.uint8, generator=rng).to(model.device)
    labels = (torch.arange(images) % classes).to(model.device)
    return Batch(pixels, labels, torch.arange(images, device=model.device))


def peer_step(peer: Any, model: Backbone, images: int, classes: int) -> Step:
    """A step of the common loop, its images decoded: names tokenised and encoded in each step,
    AdamW tensor by tensor, the loss read."""
    batch = batch_of(model, images, classes)
    tokenizer = open_clip.SimpleTokenizer(context_length=model.context)
    x = model.transform.normalise(batch.x)
    optimizer = torch.optim.AdamW(peers.trained(peer), lr=1e-30, weight_decay=0.0)

    def step() -> torch.Tensor:
        with model.autocast():
            ids = tokenizer([TEMPLATE.format(n) for n in names(classes)]).to(model.device)
            text = peer.encode_text(ids, normalize=True)
            logits = peer.logit_scale.exp() * peer.encode_image(x, normalize=True) @ text.T
        loss = F.cross_entropy(logits.float(), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        return loss.detach()

    return step


def measured(
    model: Backbone, trials: tuple[int, ...], images: int = 32, classes: int = 100, steps: int = 20
) -> list[dict[str, Any]]:
    """A row for each way to take a step. Raises AssertionError where results differ."""
    peak = product_rate(model.device)
    rows: list[dict[str, Any]] = []

    def note(name: str, how: str, count: int, step: Step) -> None:
        with FlopCounterMode(display=False) as counter:
            step()
        rows.append({"method": name, "steps": how, "trials": count})
        reset(model.device)
        seconds = timed(step, model.device, steps)
        rate = counter.get_total_flops() / seconds
        rows[-1] |= {
            "steps_per_second": count / seconds,
            "operations_per_second": rate,
            "share_of_products": rate / peak,
            "peak_bytes": peak_bytes(model.device),
        }
        print(json.dumps(rows[-1]), flush=True)

    for name, method in METHODS.items():
        expected = stepper(method, model, 1, images, classes, False)[0]()
        for count in trials:
            for replay in (False, True):
                step, take = stepper(method, model, count, images, classes, replay)
                for _ in range(WARM_UP_STEPS + 2):
                    torch.testing.assert_close(step()[:1], expected, atol=0.02, rtol=0.02)
                note(name, "replayed" if replay else "as ever", count, step)
                rows[-1] |= take.tags
    for name, peer in (
        ("peft on attn", peers.peft_lora(model.model, RANK)),
        ("CLIP-LoRA's order", peers.split_lora(model.model, RANK)),
    ):
        note(name, "common loop", 1, peer_step(peer, model, images, classes))
    return rows


def swept(name: str, trials: int, *words: str) -> dict[str, Any]:
    """The clock of a whole sweep of LoRA's rank in a process of its own, in a new ledger."""
    ringbench = (sys.executable, "-c", "from harness.cli.main import main; main()")
    command = (*ringbench, "sweep", "lora_rank", "--fresh", "0")
    settings = (f"backbone.name={name}", *words)
    if name != "embedded":
        settings += ("backbone.pretrained=random", "backbone.precision=bf16")
    with TemporaryDirectory() as home:
        began = time.perf_counter()
        subprocess.run(
            [*command, "--pruner", "none", "--trials", str(trials), "--quiet", *settings],
            cwd=ROOT, check=True, env=os.environ | {"RINGBENCH_HOME": home},
        )  # fmt: skip
    seconds = time.perf_counter() - began
    return {"sweep": "lora_rank", "backbone": name, "trials": trials, "seconds": seconds}


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


def reset(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def tested() -> int:
    """The exit code of the tests that have something to do with a device."""
    command = [sys.executable, "-m", "pytest", *TESTS]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def steps_of(name: str, device: torch.device) -> list[dict[str, Any]]:
    spec = BackboneSpec(name, "random", "bf16")
    return measured(backbone.load_backbone(spec, device), (1, 4, 8, 16))


def suite(device: torch.device, words: list[str], quick: bool) -> dict[str, list[Any]]:
    """The rows of the suite on a device."""
    use(device)
    os.environ["RINGBENCH_HOME"] = str(folder())  # what is recorded on the way is thrown away
    return rows_of_the_suite(words, quick)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; or all")
    parser.add_argument("--json", type=Path, help="instead of reports/measured/<device>.json")
    given = parser.parse_args(words)
    unknown = [part for part in given.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    if not torch.cuda.is_available():
        print("gpu-check: no CUDA device here; nothing was checked and nothing was written")
        return 0
    device, parts = torch.device("cuda"), given.parts or PARTS
    name = environment.device_name(device)
    path = given.json or report.FOLDER / f"{name.replace(' ', '-').lower()}.json"
    if "tests" in parts and (code := tested()):
        print("gpu-check: tests fail; nothing was measured")
        return code
    work: dict[str, Callable[[], dict[str, Any]]] = {
        "steps": lambda: {"steps": steps_of(MODEL, device)},
        "sweeps": lambda: {"sweeps": [swept("embedded", 100), swept(MODEL, 100)]},
        "suite": lambda: suite(device, [], False),
    }
    return max((noted(path, name, work[part]) for part in parts if part in work), default=0)


def noted(path: Path, name: str, work: Callable[[], dict[str, Any]]) -> int:
    """Measure something and put it into the file of a device; 1 where something went wrong."""
    try:
        found = work()
    except Exception:  # the other parts are worth having
        traceback.print_exc()
        return 1
    report.write(path, device=name, what=__doc__, **found)
    print(f"written: {path}", flush=True)
    return int(bool(found.get("failed")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
