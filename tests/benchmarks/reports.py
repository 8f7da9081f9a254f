"""Reports over a ledger of 10,000 runs: seconds and peak memory of each command. Wanted: a board,
a front and a comparison in 60 s together, and the whole site in 60 s, in 2 GB, on two cores.

python tests/benchmarks/reports.py [RUNS]

The runs are made up (their numbers mean nothing), but their specs are real and they lie in an
MLflow store as runs do (tests/reports/many_runs.py). Each command is a process of its own, as
typed.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.evaluate.predict import Predictions
from harness.run import config
from harness.run.result import Result
from harness.spec.protocols import harmonic_mean
from harness.tracking.ledger import Ledger
from tests.reports import many_runs

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
SETTINGS = {
    "adaring": [f"method.ring_rank={r}" for r in (1, 2, 4, 8)],
    "lora": [f"method.rank={r}" for r in (1, 2, 4, 8)],
    "clip_adapter": [f"method.reduction={r}" for r in (1, 2, 4, 8)],
    "full_rank": [f"method.bottleneck={r}" for r in (4, 8, 16, 32)],
    "adapterbias": [f"train.weight_decay={d}" for d in (0, 0.01, 0.1, 1)],
    "arc": [f"train.weight_decay={d}" for d in (0, 0.01, 0.1, 1)],
    "mosa": [f"train.weight_decay={d}" for d in (0, 0.01, 0.1, 1)],
    "adamix": [f"train.weight_decay={d}" for d in (0, 0.01, 0.1, 1)],
    "linear_probe": [f"train.weight_decay={d}" for d in (0, 0.01, 0.1, 1)],
    "full_finetune": [f"train.weight_decay={d}" for d in (0, 0.01, 0.1, 1)],
}
DATASETS = ("digits", "fashion-mnist", "flags", "icon-concepts", "emoji-things")
IMAGES = 1000
COMMANDS = (
    ("leaderboard", "--protocol", "base_to_novel"),
    ("leaderboard", "--protocol", "base_to_novel", "--all"),
    ("pareto", "--at", "50k", "--third", "time/train_seconds"),
    ("pareto", "--curves"),
    ("compare", "adaring", "lora", "--best"),
)
SITE = ("report", "--out")  # a folder for the site


def results(count: int) -> Iterator[Result]:
    """Seeds outermost, so that any count is a grid with as many seeds as it reaches."""
    rng = np.random.default_rng(0)
    made = 0
    for seed in range(1, 1 + -(-count // (len(SETTINGS) * 4 * len(RATES) * len(DATASETS)))):
        for dataset in DATASETS:
            for m, (method, settings) in enumerate(SETTINGS.items()):
                for s, setting in enumerate(settings):
                    for r, rate in enumerate(RATES):
                        words = [f"method={method}", f"data={dataset}", f"seed={seed}", setting]
                        spec = config.build("base_to_novel", [*words, f"train.lr={rate}"])
                        mean = 60 + m + s - abs(r - 2) + 3 * DATASETS.index(dataset)
                        kept = (s, r) == (3, 2) and method in ("adaring", "lora")
                        yield result(spec, mean, 2.0 ** (10 + (m + s) % 8), rng, kept)
                        made += 1
                        if made == count:
                            return


def result(
    spec: config.Spec, mean: float, size: float, rng: np.random.Generator, kept: bool
) -> Result:
    """A finished run with what a real one records, and predictions where they are ``kept``."""
    parts = [predictions(p, mean + rng.normal(0, 1), rng) for p in ("base", "novel")]
    base, novel = (p.accuracy for p in parts)
    metrics = {
        "acc/val": mean, "acc/val_novel": mean, "acc/val_hmean": mean, "acc/base": base,
        "acc/novel": novel, "acc/hmean": harmonic_mean(base, novel), "ece/test": 9.0,
        "params/trainable": size, "params/stored": size, "params/inference": 0.0,
        "params/head": 0.0, "bytes/adapter": 4 * size, "time/train_seconds": rng.uniform(3, 9),
        "time/step_ms": 40.0, "memory/peak_bytes": 1e9, "flops/step": 1e9, "cache/bytes": 1e5,
        "cache/saved_percent": 50.0,
    }  # fmt: skip
    digest = spec.digest()
    tags = {
        "method": spec.method_name, "dataset": spec.data.name, "protocol": spec.protocol,
        "backbone": spec.backbone.name, "shots": str(spec.data.shots), "seed": str(spec.seed),
        "digest": digest, "configuration": spec.configuration(), "selection": "last",
        "git_commit": "0" * 40, "git_dirty": "false", "device": "a processor",
        "versions": '{"python": "3.11", "torch": "2.11"}', "data_hash": spec.data.name,
        "subset_hash": f"{spec.data.name}-{spec.seed}", "names_hash": "n", "template_hash": "t",
        "transform_hash": "t", "backbone_hash": "b", "test_reads": "1",
        "test_parts": json.dumps({p.part: {"classes": 5, "images": IMAGES} for p in parts}),
        "cache": "cached: text features (2.56 KB)",
    }  # fmt: skip
    losses = (2 * np.exp(-np.arange(60) / 20) + rng.uniform(0, 0.1, 60)).tolist()
    started = 1.7e9 + int(digest[:6], 16)
    names = {p.part: ("cat", "dog") for p in parts}
    return Result(spec, "finished", started, started + 9, metrics, tags, losses, None,
                  parts if kept else [], names)  # fmt: skip


def predictions(part: str, accuracy: float, rng: np.random.Generator) -> Predictions:
    right = rng.uniform(size=IMAGES) < min(accuracy, 99) / 100
    label, sure = np.zeros(IMAGES, dtype=np.int64), np.full(IMAGES, 0.7, dtype=np.float32)
    return Predictions(part, np.arange(IMAGES), label, 1 - right.astype(np.int64), sure, sure)


def measured(words: tuple[str, ...], environment: dict[str, str]) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak GB of a command in a process of its own."""
    program = "import sys; from harness.cli.main import main; main(sys.argv[1:])"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", program, *words], env=environment, **quiet)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"{words}: {status}"
    spent = usage.ru_utime + usage.ru_stime
    return time.monotonic() - begun, spent, usage.ru_maxrss * 1024 / 1e9


def told(words: tuple[str, ...], home: str) -> tuple[float, float, float]:
    """What a command takes, printed as well."""
    found = seconds, spent, memory = measured(words, os.environ | {"RINGBENCH_HOME": home})
    line = f"{seconds:6.1f} s, {spent:6.1f} of a processor, {memory:5.2f} GB"
    print(f"{' '.join(words):50} {line}", flush=True)
    return found


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")
    return f"{os.cpu_count()} cores of {model or platform.processor()}"


def main(count: int) -> None:
    print(f"{count:,} runs; {machine()}")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        list(Ledger(f"sqlite:///{home}/mlflow.db", home).runs())
        begun = time.monotonic()
        many_runs.write(home / "mlflow.db", home / "artifacts", "base_to_novel", results(count))
        size = (home / "mlflow.db").stat().st_size / 1e6
        print(f"made in {time.monotonic() - begun:.0f} s; the store has {size:.0f} MB", flush=True)
        found = []
        for words in COMMANDS:
            found.append(told(words, folder))
        seconds, spent, memory = (
            f(column) for f, column in zip((sum, sum, max), zip(*found, strict=True), strict=True)
        )
        print(f"together {seconds:.1f} s, {spent:.1f} of a processor, at most {memory:.2f} GB")
        told((*SITE, str(home / "site")), folder)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
