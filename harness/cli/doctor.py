"""``ringbench doctor``: what would stop a run before it starts."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from harness.data import registry
from harness.model import backbone, precision
from harness.spec import environment
from harness.spec.paths import home_folder, tracking_uri
from harness.spec.spec import BackboneSpec
from harness.tracking import pending_records
from harness.tracking.ledger import Ledger
from harness.tracking.mlflow_client import Unreachable
from methods.kit.core.errors import UsageError

LOW_DISK_BYTES = 1 << 30
WIDTHS = (160, 768)  # of the embedded model and of ViT-B


@dataclass(frozen=True)
class Finding:
    """The state of one part of the installation."""

    what: str
    found: str
    ok: bool = True


def examine(uri: str | None = None) -> list[Finding]:
    """Return the state of everything that a run needs."""
    libraries = ", ".join(f"{k} {v}" for k, v in environment.library_versions().items())
    return [
        Finding("versions", libraries),
        _device(),
        _precision(),
        _checked("embedded backbone", _backbone),
        *(_checked(f"data set {n}", partial(_data_set, n)) for n in registry.embedded_names()),
        _checked("home", _home),
        *_ledger(uri),
    ]


def _checked(what: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except UsageError as error:
        return Finding(what, str(error), ok=False)


def _device() -> Finding:
    name = "cuda" if torch.cuda.is_available() else "cpu"
    threads = f", {torch.get_num_threads()} threads of {os.cpu_count()}" if name == "cpu" else ""
    return Finding("device", f"{name}: {environment.device_name(torch.device(name))}{threads}")


def _precision() -> Finding:
    if torch.cuda.is_available():
        return Finding(
            "precision", f"backbone.precision=auto is {precision.auto_precision('embedded')}"
        )
    gains = (f"{precision.bf16_speedup(width):.1f} times at width {width}" for width in WIDTHS)
    return Finding("precision", f"bf16 against fp32 here: {', '.join(gains)}")


def _backbone() -> Finding:
    try:
        loaded = backbone.load_backbone(BackboneSpec())
    except UsageError as error:
        return Finding("embedded backbone", str(error), ok=False)
    return Finding("embedded backbone", f"weights and configuration {loaded.digest}")


def _data_set(name: str) -> Finding:
    try:
        table = registry.read_dataset(name)
    except UsageError as error:
        return Finding(f"data set {name}", str(error), ok=False)
    known = registry.describe_set(name)
    counts = {part: len(table.rows(part)) for part in ("train", "test")}
    ok = all(counts[part] == known[part] for part in counts)
    found = f"{len(table.classnames)} classes, {counts['train']} train, {counts['test']} test"
    return Finding(f"data set {name}", f"{found}, {table.digest}", ok)


def _home() -> Finding:
    try:
        folder = home_folder()
    except UsageError as error:
        return Finding("home", str(error), ok=False)
    free = shutil.disk_usage(folder).free
    found = f"{folder}, {free / 2**30:.1f} GiB free"
    return Finding("home", found, free > LOW_DISK_BYTES)


def _ledger(uri: str | None) -> list[Finding]:
    try:
        ledger = Ledger(uri)
    except UsageError as error:
        return [Finding("ledger", str(error), ok=False)]
    waiting = len(list(pending_records.waiting(ledger.pending)))
    pending = Finding("pending records", f"{waiting} to be delivered to MLflow", waiting == 0)
    try:
        state = Finding("ledger", f"{ledger.uri}, {sum(1 for _ in ledger.runs())} runs")
    except Unreachable as error:
        problem = f"{uri or tracking_uri()} does not answer: {error}"
        state = Finding("ledger", problem, ok=False)
    return [state, pending]
