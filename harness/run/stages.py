"""Prerequisite stages (`Method.stages`): runs that are trained before another one, once.

A stage is stored as a folder named by its run id, so a kill in a later stage repeats no earlier
one.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from harness.data.registry import default_settings
from harness.run import adapter_files, config
from harness.run.source_runs import SourceRun
from harness.spec.atomic_files import atomic_path
from harness.spec.spec import SET_SEPARATOR, Spec
from methods.kit.contract.method import Stage


def stage_specs(spec: Spec) -> dict[str, Spec]:
    """Return the specs of a run's stages. Raises UsageError for settings that do not exist."""
    return {name: _stage_spec(spec, stage) for name, stage in spec.method.stages().items()}


def _stage_spec(spec: Spec, stage: Stage) -> Spec:
    stored = replace(spec, method=stage.method).as_dict()
    settings = dict(stage.settings)
    if "data.name" in settings:  # another data set has its own template and shots
        name = str(settings["data.name"])
        own = {f"data.{k}": v for k, v in default_settings(name).items()}
        settings = {"data.template": "default"} | own | settings
        if spec.tasks and SET_SEPARATOR not in name:  # one data set is no multi_task
            settings["protocol"] = "few_shot"
    for key, value in settings.items():
        part, dot, name = key.partition(".")
        if dot:
            stored[part][name] = value
        else:
            stored[key] = value
    return config.from_dict(stored)


def load_stage(spec: Spec, store: Path | None, train: Callable[[Spec], SourceRun]) -> SourceRun:
    """Return a stage from the folder ``store``; a missing one is trained and stored there."""
    if store is None:
        return train(spec)
    folder = store / spec.digest()
    store.mkdir(parents=True, exist_ok=True)
    with FileLock(store / f"{folder.name}.lock"):
        if not folder.exists():
            stage = train(spec)
            with atomic_path(folder, store / f".scrap-{folder.name}") as draft:
                draft.mkdir()
                adapter_files.write(draft, spec, stage.state, {"metrics": stage.metrics})
        facts, state = adapter_files.read(folder)
    return SourceRun(spec, state, facts["metrics"])
