"""Trainings that come before another: each is done once, kept on disk whole, and found again.

A kill in a later stage repeats no earlier one: what is kept is a folder, named by the digest of the
stage's own spec, that appears by a rename.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock
from torch import Tensor

from harness.data import leakage
from harness.data.registry import default_settings
from harness.run import adapter_files, config
from harness.spec.spec import SET_SEPARATOR, Spec
from methods.kit.contract.method import Stage
from methods.kit.core.errors import UsageError

SECONDS, PEAK = "time/stages_seconds", "memory/stages_bytes"


@dataclass(frozen=True)
class Past:
    """What a stage left: the state of its adapter, and its metrics."""

    state: dict[str, Tensor]
    metrics: dict[str, float]


def specs(spec: Spec) -> dict[str, Spec]:
    """The stages that a run needs, as runs. Raises UsageError for settings that do not exist."""
    return {name: _spec(spec, stage) for name, stage in spec.method.stages().items()}


def check(spec: Spec) -> None:
    """Raises UsageError for a stage that would see what is held out of the run that follows it."""
    for name, first in specs(spec).items():
        if (first.protocol, first.data, first.seed) == (spec.protocol, spec.data, spec.seed):
            continue
        here, there = leakage.data_use(spec), leakage.data_use(first)
        leaked = len((there.train - here.train) & here.held)
        same = {t.digest for t in there.tables} & {t.digest for t in here.tables}
        novel = len(there.names & here.novel) if same else 0
        if leaked or novel:
            what = f"{leaked} images" if leaked else f"{novel} classes"
            raise UsageError(
                f"stage {name!r} would be trained on {what} that are held out of"
                f" {spec.data.name}, seed {spec.seed}; name another source"
            )


def _spec(spec: Spec, stage: Stage) -> Spec:
    stored = replace(spec, method=stage.method).as_dict()
    settings = dict(stage.settings)
    if "data.name" in settings:  # another data set has its own template and shots
        own = default_settings(str(settings["data.name"]))
        settings = (
            {"data.template": "default"} | {f"data.{k}": v for k, v in own.items()} | settings
        )
        if spec.tasks and SET_SEPARATOR not in str(
            settings["data.name"]
        ):  # one set is no multi_task
            settings["protocol"] = "few_shot"
    for key, value in settings.items():
        part, dot, name = key.partition(".")
        if dot:
            stored[part][name] = value
        else:
            stored[key] = value
    return config.from_dict(stored)


def kept(spec: Spec, store: Path | None, train: Callable[[], Past]) -> Past:
    """What a stage left, found in ``store``, or trained now and put there."""
    if store is None:
        return train()
    folder = store / spec.digest()
    store.mkdir(parents=True, exist_ok=True)
    with FileLock(store / f"{spec.digest()}.lock"):
        if not folder.exists():
            _write(folder, spec, train())
        about, state = adapter_files.read(folder)
    return Past(state, about["metrics"])


def _write(folder: Path, spec: Spec, past: Past) -> None:
    scrap = folder.with_name(f".scrap-{folder.name}")
    shutil.rmtree(scrap, ignore_errors=True)  # of a writer that was killed
    scrap.mkdir()
    adapter_files.write(scrap, spec, past.state, {"metrics": past.metrics})
    for path in scrap.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    scrap.rename(folder)


def costs(pasts: Mapping[str, Past]) -> dict[str, float]:
    """What stages took: seconds and peak bytes, those of their own stages included."""
    if not pasts:
        return {}
    each = [past.metrics for past in pasts.values()]
    return {
        SECONDS: sum(m["time/train_seconds"] + m.get(SECONDS, 0.0) for m in each),
        PEAK: max(max(m["memory/peak_bytes"], m.get(PEAK, 0.0)) for m in each),
    }
